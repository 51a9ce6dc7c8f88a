//! The gateway of a run: one of our own, or one that runs already.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::Fault;
use crate::clock::now_ns;
use crate::gateway::Gateway;
use crate::machine::{self, Tree};

/// Which gateway.
#[derive(Debug, Args)]
pub(crate) struct Against {
    /// A gateway that runs already, with a provider called `load` at --provider-listen
    #[arg(long, value_name = "URL")]
    pub(super) against: Option<String>,
    /// Where that gateway finds the provider
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9199")]
    pub(super) provider_listen: SocketAddr,
    /// Key of that gateway
    #[arg(long)]
    pub(super) key: Option<String>,
    /// Its process, if it is on this machine, to measure CPU and memory
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,
}

impl Default for Against {
    /// One of our own.
    fn default() -> Self {
        let provider_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { against: None, provider_listen, key: None, pid: None }
    }
}

/// The process under test, if it can be measured; its CPU goes on counting through a restart.
pub(super) struct Server {
    pub(super) own: Option<Gateway>,
    pub(super) pid: Option<u32>,
    pub(super) before: Duration,
}

impl Server {
    pub(super) fn tree(&self) -> Option<Tree> {
        self.own.as_ref().map(Gateway::tree).or(self.pid.map(|pid| Tree::of([pid])))
    }

    pub(super) fn cpu(&self) -> Duration {
        self.before + self.tree().map(|tree| tree.cpu()).unwrap_or_default()
    }

    pub(super) fn memory(&self) -> machine::Memory {
        self.tree().map(|tree| tree.memory()).unwrap_or_default()
    }

    pub(super) async fn restart(&mut self, down: Duration) -> Result<Duration, Fault> {
        let gateway =
            self.own.as_mut().ok_or("only a gateway of our own can be killed: leave out --against")?;
        self.before += gateway.tree().cpu();
        gateway.kill().await?;
        sleep(down).await;
        let began = now_ns();
        gateway.start_again().await?;
        Ok(Duration::from_nanos(now_ns() - began))
    }
}
