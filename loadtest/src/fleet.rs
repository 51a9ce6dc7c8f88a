//! The parent's side of all crowds: starts them, hears them, and adds up what they say.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Fault;
use crate::crowd::{Done, Job, Line};
use crate::machine::{self, Tree};
use crate::tally::Moment;

/// Lines of children that nobody has looked at yet.
const LINES_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Fleet {
    children: Vec<Child>,
    orders: Vec<ChildStdin>,
    lines: mpsc::Receiver<(usize, Result<Line, String>)>,
    _readers: JoinSet<()>,
    latest: Vec<Moment>,
    ready: usize,
    pub(crate) done: Vec<Done>,
}

impl Fleet {
    pub(crate) async fn start(jobs: &[Job]) -> Result<Self, Fault> {
        let own = std::env::current_exe()?;
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let mut readers = JoinSet::new();
        let (mut children, mut orders) = (Vec::new(), Vec::new());
        for (number, job) in jobs.iter().enumerate() {
            let mut child = machine::command(&own, None)
                .arg("crowd")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut stdin = child.stdin.take().ok_or("a child has no standard input")?;
            stdin.write_all(format!("{}\n", serde_json::to_string(job)?).as_bytes()).await?;
            let mut said =
                BufReader::new(child.stdout.take().ok_or("a child has no standard output")?).lines();
            let sender = sender.clone();
            readers.spawn(async move {
                loop {
                    let line = match said.next_line().await {
                        Ok(Some(line)) => {
                            serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))
                        }
                        Ok(None) => Err("a process of viewers has ended by itself".to_owned()),
                        Err(error) => Err(error.to_string()),
                    };
                    let is_last = matches!(line, Err(_) | Ok(Line::Done(_)));
                    if sender.send((number, line)).await.is_err() || is_last {
                        return;
                    }
                }
            });
            orders.push(stdin);
            children.push(child);
        }
        let latest = vec![Moment::default(); children.len()];
        Ok(Self { children, orders, lines, _readers: readers, latest, ready: 0, done: Vec::new() })
    }

    /// Hears one line.
    pub(crate) async fn hear(&mut self) -> Result<(), Fault> {
        let Some((number, line)) = self.lines.recv().await else { return Err("all viewers are gone".into()) };
        match line? {
            Line::Ready => self.ready += 1,
            Line::Moment(moment) => {
                let latest = &mut self.latest[number];
                let (mut latency, silence_ms) = (std::mem::take(&mut latest.latency), latest.silence_ms);
                latency.merge(&moment.latency);
                *latest = Moment { latency, silence_ms: silence_ms.max(moment.silence_ms), ..moment };
            }
            Line::Done(done) => self.done.push(*done),
        }
        Ok(())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready == self.children.len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.len() == self.children.len()
    }

    /// All children together, since this was asked last.
    pub(crate) fn moment(&mut self) -> Moment {
        let mut all = Moment::default();
        for latest in &mut self.latest {
            all.merge(latest);
            latest.latency.clear();
            latest.silence_ms = 0.0;
        }
        all
    }

    /// Says when all begins.
    pub(crate) async fn begin(&mut self, at_ns: u64) -> Result<(), Fault> {
        for orders in &mut self.orders {
            orders.write_all(format!("{at_ns}\n").as_bytes()).await?;
        }
        Ok(())
    }

    pub(crate) fn cpu(&self) -> Duration {
        Tree::of(self.children.iter().filter_map(Child::id)).cpu()
    }
}
