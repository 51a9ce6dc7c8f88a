//! The gateway beside other servers: on one machine, in one run, taking turns, with as many bytes per event. What counts is
//! the ratios; the floor says how much of each figure nobody can avoid.

pub(crate) mod floor;
pub(crate) mod naive;
mod peer;
mod point;
mod publish;
mod table;
mod turn;

use clap::{Args, ValueEnum as _};

use self::peer::Peer;
use self::point::Point;
pub(crate) use self::table::{Figure, Kind, Table};
use self::turn::Turn;
use crate::progress::Progress;
use crate::report::Report;
use crate::{Common, Fault, json_line, page, write};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to do; all of them if none is named
    #[arg(long, value_delimiter = ',')]
    point: Vec<Point>,
    /// Whom to ask
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "floor,tokencast,nchan,durable-streams,naive-axum,node-redis"
    )]
    peers: Vec<Peer>,
    /// Turns of everybody, in another order each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long everybody delivers, per turn
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Bytes of an event on the wire
    #[arg(long, default_value_t = 114)]
    event_bytes: usize,
    /// As many viewers as that part of them
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> Result<Report, Fault> {
    if options.rounds == 0 || options.peers.is_empty() {
        return Err("there is nobody to measure: --rounds and --peers want at least one each".into());
    }
    let missing: Vec<String> = options.peers.iter().filter_map(|peer| peer.missing()).collect();
    if !missing.is_empty() {
        return Err(format!("{}\nor leave them out with --peers", missing.join("\n")).into());
    }
    let points = if options.point.is_empty() { Point::value_variants() } else { &options.point };
    let mut report = Report::default();
    let mut tables = Vec::new();
    for point in points {
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); options.peers.len()];
        let mut progress = Progress::new();
        for round in 0..options.rounds {
            for at in 0..options.peers.len() {
                // Nobody always comes first, or always behind the same one.
                let at = (at + round) % options.peers.len();
                let peer = options.peers[at];
                progress.show(format_args!(
                    "{}, round {} of {}: {}",
                    point.name(),
                    round + 1,
                    options.rounds,
                    peer.name()
                ));
                let turn =
                    Box::pin(turn::turn(peer, point.shape(options), options, common, &mut report)).await?;
                json_line(common, || turn.json(*point, peer, round));
                turns[at].push(turn);
            }
        }
        progress.clear();
        let rows = options.peers.iter().map(|peer| peer.name()).zip(turns).collect();
        tables.push(Table::new(point.name(), point.about(), point.kind(), rows));
    }
    for table in &tables {
        if !common.json {
            table.print();
        }
        table.note(&mut report);
    }
    if let Some(file) = &common.html {
        write(file, &page::of_comparison(options.rounds, &tables, &report))?;
    }
    Ok(report)
}
