//! How a connection came to its end, and what that means.

use std::io;

use tracing::debug;

use super::connection::Closed;
use super::error::{self, Error};
use super::heads::Heads;
use super::pulse::Late;
use super::serve::Site;
use crate::telemetry;

/// How a connection came to its end.
pub(super) enum Ended {
    Done(hyper::Result<()>),
    Late(Late),
}

impl Ended {
    /// What there is to say about it, where nothing was asked that could be answered.
    pub(super) fn refusal(&self, heads: &Heads) -> Option<Error> {
        match self {
            Self::Late(Late::Head) => Some(error::head_timeout()),
            Self::Done(Err(error)) if error.is_parse_too_large() && heads.is_in_first_line() => {
                Some(error::uri_too_long())
            }
            Self::Done(Err(error)) if error.is_parse_too_large() => Some(error::head_too_large()),
            Self::Done(Err(error)) if error.is_parse() => Some(error::malformed_request()),
            _ => None,
        }
    }

    /// Counts what we would not bear.
    pub(super) fn told(self, site: &Site) -> Result<(), Closed> {
        match self {
            Self::Late(Late::First) => telemetry::refused(site.listener, "first_byte_timeout"),
            Self::Late(Late::Idle) => debug!("closing an idle connection"),
            Self::Late(Late::Head) | Self::Done(Ok(())) => {}
            Self::Done(Err(error)) => {
                match cause(&error) {
                    Some(io) if io.kind() == io::ErrorKind::TimedOut => {
                        telemetry::refused(site.listener, "stalled");
                    }
                    Some(io) if io.kind() == io::ErrorKind::QuotaExceeded => {
                        telemetry::refused(site.listener, error::too_many_frames().code);
                    }
                    Some(_) => {}
                    None if error.is_timeout() => telemetry::refused(site.listener, "ping_timeout"),
                    None if is_protocol(&error) => telemetry::refused(site.listener, "protocol_error"),
                    None => {}
                }
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// What the socket said, if it is that.
fn cause(error: &hyper::Error) -> Option<&io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Whether HTTP/2 was broken, or abused.
fn is_protocol(error: &hyper::Error) -> bool {
    !error.is_user() && !error.is_closed() && !error.is_canceled() && !error.is_incomplete_message()
}
