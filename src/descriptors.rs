//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of all descriptors one in so many is left to what is no connection of a client: the journal, providers, certificates.
const RESERVED: u64 = 5;
const RESERVED_MIN: u64 = 32;

/// Raises the limit as far as that is allowed, and gives it, if there is one.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        return current;
    }
    maximum
}

/// How many connections of clients there may be under this limit, of as many as are wanted.
pub(crate) fn for_clients(wanted: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wanted };
    let reserved = (limit / RESERVED).max(RESERVED_MIN);
    wanted.min(usize::try_from(limit.saturating_sub(reserved)).unwrap_or(wanted)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_keeps_some() {
        assert_eq!(for_clients(100, None), 100);
        assert_eq!(for_clients(100, Some(1_000_000)), 100);
        assert_eq!(for_clients(16_384, Some(20_000)), 16_000);
        assert_eq!(for_clients(16_384, Some(128)), 96);
        assert_eq!(for_clients(16_384, Some(10)), 1);
    }
}
