//! The command line: one file per command. Floor 6.

pub mod certs;
pub mod check;
pub mod complete;
pub mod demo;
pub mod diff;
pub mod explain;
pub mod routes;
pub mod run;
pub mod schema;
pub mod top;
pub mod upgrade;
mod written;

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::clock::Clock;

/// API gateway: three levels of assurance in front of every agency
#[derive(Debug, Parser)]
#[command(name = "darvazeh", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, then drain
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "routes.yaml")]
        config: PathBuf,
    },
    /// Validate a configuration and everything it names; lists all faults
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "routes.yaml")]
        config: PathBuf,
        /// How to list the faults
        #[arg(long, value_enum, default_value_t = check::Format::Human)]
        format: check::Format,
        /// Print what a fault's code means, and end
        #[arg(long, value_name = "CODE")]
        explain: Option<String>,
    },
    /// Say what the gateway would do with a request, and why
    Explain(explain::Options),
    /// Say what another configuration changes for callers, agencies and operators; the weakening first
    Diff(diff::Options),
    /// List the routes of a configuration
    Routes(routes::Options),
    /// Watch a running gateway over its admin listener
    Top(top::Options),
    /// Have a running gateway taken over by the program that is installed now, without losing a connection
    Upgrade(upgrade::Options),
    /// Print the JSON Schema of routes.yaml
    Schema,
    /// Everything on loopback, nothing to prepare: prints requests to try
    Demo(demo::Options),
    /// Certificates for development
    Certs {
        #[command(subcommand)]
        command: CertsCommand,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Directory for the pages; made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// A development CA, a server and a client certificate
    Dev(certs::Options),
}

/// Runs the command of `arguments`.
pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        Command::Run { config } => run::run(config),
        Command::Check { explain: Some(code), .. } => check::explain(code, &mut stdout()),
        Command::Check { config, format, .. } => check::check(config, *format, Clock::system().now(), &mut stdout()),
        Command::Explain(options) => explain::explain(options, &mut stdout()),
        Command::Diff(options) => diff::run(options, Clock::system().now()),
        Command::Routes(options) => routes::run(options, Clock::system().now()),
        Command::Top(options) => top::run(options),
        Command::Upgrade(options) => upgrade::run(options),
        Command::Schema => schema::schema(&mut stdout()),
        Command::Demo(options) => demo::run(options),
        Command::Certs { command: CertsCommand::Dev(options) } => certs::run(options),
        Command::Completions { shell } => complete::completions(Arguments::command(), *shell, &mut stdout()),
        Command::Man { out } => complete::man(Arguments::command(), out),
    }
}
