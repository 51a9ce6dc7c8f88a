//! The `tokencast` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tokencast::cli::main()
}
