//! The command line: `serve`, `demo`, `config`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::sources::{self, Texts};
use crate::config::table::OPTIONS;
use crate::config::{Config, ConfigError, reference};
use crate::server::Server;
use crate::{demo, logging};

/// Stack of a thread that runs statements: plans are trees that are walked recursively.
const STACK_BYTES: usize = 16 << 20;
/// Exit code of a configuration that was refused, as for a wrong command line.
const EXIT_USAGE: u8 = 2;

/// The flags, as clap wants to keep them.
static FLAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| OPTIONS.iter().map(super::config::option::OptionSpec::flag).collect());
/// Their help texts.
static HELPS: LazyLock<Vec<String>> = LazyLock::new(|| {
    OPTIONS
        .iter()
        .map(|option| {
            let default = if option.default.is_empty() { "none" } else { option.default };
            format!("{} [{}; default: {default}; env: {}]", option.about, option.range(), option.variable())
        })
        .collect()
});

/// Runs the program.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let matches = match command_line().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let environment: Texts = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match matches.subcommand() {
        Some(("config", matches)) => {
            print!("{}", if matches.get_flag("markdown") { reference::page() } else { reference::sample() });
            ExitCode::SUCCESS
        }
        Some((name, matches)) => match configuration(matches, &environment) {
            Ok(config) => start(config, name == "demo"),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_USAGE)
            }
        },
        None => ExitCode::from(EXIT_USAGE),
    }
}

/// Describes the command line from the table of options.
fn command_line() -> Command {
    Command::new("colonnade")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An SQL database for live analytics: rows go in, columns answer")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_options(Command::new("serve").about("Serves a database"), false))
        .subcommand(with_options(
            Command::new("demo").about("Generates and loads TPC-H data, shows what to type next, and serves it"),
            true,
        ))
        .subcommand(
            Command::new("config").about("Prints a configuration file with every option and its default").arg(
                Arg::new("markdown")
                    .long("markdown")
                    .action(ArgAction::SetTrue)
                    .help("Prints the reference page docs/configuration.md instead"),
            ),
        )
}

fn with_options(command: Command, is_demo: bool) -> Command {
    let mut command = command.arg(
        Arg::new("config").long("config").value_name("FILE").help("Configuration file in TOML [env: COLONNADE_CONFIG]"),
    );
    for ((option, flag), help) in OPTIONS.iter().zip(FLAGS.iter()).zip(HELPS.iter()) {
        if option.secret || (option.section == "Demo" && !is_demo) {
            continue;
        }
        command = command.arg(
            Arg::new(option.key)
                .long(flag.as_str())
                .value_name("VALUE")
                .help(help.as_str())
                .allow_hyphen_values(true)
                .help_heading(option.section),
        );
    }
    command
}

fn configuration(matches: &ArgMatches, environment: &Texts) -> Result<Config, ConfigError> {
    let file = matches
        .get_one::<String>("config")
        .or_else(|| environment.get("COLONNADE_CONFIG"))
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let flags: BTreeMap<String, String> = OPTIONS
        .iter()
        .filter_map(|option| {
            let text = matches.try_get_one::<String>(option.key).ok().flatten()?;
            Some((option.key.to_owned(), text.clone()))
        })
        .collect();
    sources::load(&flags, environment, file.as_deref())?.finish()
}

fn start(config: Config, is_demo: bool) -> ExitCode {
    if let Err(error) = logging::start(&config) {
        eprintln!("error: {error}");
        return ExitCode::from(EXIT_USAGE);
    }
    // More threads than cores: a statement that computes does not keep the protocol from being spoken.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads.saturating_mul(2).saturating_add(2))
        .thread_stack_size(STACK_BYTES)
        .thread_name("worker")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(live(config, is_demo)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error's text, followed by those of its causes that it does not repeat.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}

/// Serves until the process is told to end.
async fn live(config: Config, is_demo: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = Signals::new()?;
    let scale = config.scale;
    let server = Server::start(config).await?;
    if is_demo {
        let ended = tokio::select! {
            result = demo::run(&server, scale) => match result {
                Ok(()) => false,
                Err(error) => {
                    server.stop().await?;
                    return Err(error.into());
                }
            },
            name = signals.next() => {
                tracing::info!(signal = name, "ending");
                true
            }
        };
        if ended {
            server.stop().await?;
            return Ok(());
        }
    }
    let name = signals.next().await;
    tracing::info!(signal = name, "ending: running statements may finish");
    tokio::select! {
        result = server.stop() => result?,
        // Whoever asks twice does not want to wait. The log has everything that was acknowledged.
        _ = signals.next() => {
            tracing::warn!("ending at once");
        }
    }
    Ok(())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<ArgMatches, String> {
        command_line().try_get_matches_from(arguments).map_err(|error| error.to_string())
    }

    fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let matches = parse(arguments).unwrap_or_else(|error| panic!("{error}"));
        let (_, matches) = matches.subcommand().expect("a subcommand");
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        configuration(matches, &environment)
    }

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn flags_and_variables_reach_the_configuration() {
        let found = config(&["colonnade", "serve", "--pg-listen", "127.0.0.1:7777", "--tail-rows-max=4096"], &[]);
        let found = found.unwrap();
        assert_eq!(found.pg_listen.map(|address| address.port()), Some(7777));
        assert_eq!(found.storage.tail_rows_max, 4096);
        let found = config(&["colonnade", "demo", "--scale", "0.1"], &[("COLONNADE_HTTP_LISTEN", "off")]).unwrap();
        assert_eq!((found.scale, found.http_listen), (0.1, None));
    }

    #[test]
    fn a_mistyped_flag_is_answered_with_the_right_one() {
        let error = parse(&["colonnade", "serve", "--data-dri", "x"]).unwrap_err();
        assert!(error.contains("'--data-dri'") && error.contains("'--data-dir'"), "{error}");
        assert!(parse(&["colonnade", "serve", "--scale", "1"]).is_err());
        assert!(parse(&["colonnade", "serve", "--password", "x"]).is_err());
        assert!(parse(&["colonnade"]).is_err());
    }
}
