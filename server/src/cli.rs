//! The command line: `serve`, `token`, `healthcheck`, and what they end with.

mod healthcheck;
mod serve;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kalamdb_commons::{Role, UserId, parse_duration};
use kalamdb_server::auth::TokenRequest;
use kalamdb_server::settings::{self, LoadedSettings};

/// `EX_CONFIG`: the settings are wrong.
const EXIT_CONFIG: u8 = 78;

/// A database server that speaks SQL over HTTP and keeps every user's rows apart.
#[derive(Debug, Parser)]
#[command(name = "kalamdb-server", version = kalamdb_server::version())]
struct CommandLine {
    /// The settings file; without it ./settings.toml if there is one, else the defaults.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Check the settings and end: exit code 0 if they are valid, else 78.
    #[arg(long, global = true)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server. This is the default.
    Serve,
    /// Make a token from auth.jwt_secret.
    Token(TokenArgs),
    /// Ask the configured server whether it is ready: exit code 0 if it is, else 1.
    Healthcheck,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// Whom the token speaks for.
    #[arg(long, value_name = "ID", value_parser = read_user)]
    user: UserId,
    /// user, service or dba.
    #[arg(long, value_name = "ROLE", default_value = "user", value_parser = read_role)]
    role: Role,
    /// How long it is good for: 10s, 5m, 1h, 7d.
    #[arg(long, value_name = "TTL", default_value = "1h", value_parser = read_ttl)]
    ttl: std::time::Duration,
}

fn read_user(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|error| error.message)
}

fn read_role(text: &str) -> Result<Role, String> {
    text.parse::<Role>().map_err(|error| error.message)
}

fn read_ttl(text: &str) -> Result<std::time::Duration, String> {
    parse_duration(text)
        .filter(|ttl| ttl.as_secs() > 0)
        .ok_or_else(|| "expected a duration such as 10s, 5m, 1h or 7d".to_owned())
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let line = CommandLine::parse();
    let loaded = match settings::load(line.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(EXIT_CONFIG, &error.to_string()),
    };
    if line.check_config {
        return say(&format!("the settings are valid ({})", loaded.sources()));
    }
    match line.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(loaded),
        Command::Token(arguments) => make_token(&loaded, arguments),
        Command::Healthcheck => match healthcheck::run(&loaded.settings.server) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(1, &why),
        },
    }
}

fn make_token(loaded: &LoadedSettings, arguments: TokenArgs) -> ExitCode {
    let request = TokenRequest { user_id: arguments.user, role: arguments.role, ttl: arguments.ttl };
    match token::make(&loaded.settings.auth, &request) {
        Ok(token) => say(&token),
        Err(token::NoToken::Settings(why)) => fail(EXIT_CONFIG, &why),
        Err(token::NoToken::Other(why)) => fail(1, &why),
    }
}

/// A result, on standard output.
fn say(line: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The one line that says why there is none.
fn fail(code: u8, line: &str) -> ExitCode {
    // Where standard error is closed, the exit code has to do.
    let _ = writeln!(std::io::stderr(), "kalamdb-server: {line}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_takes_its_options_anywhere() {
        CommandLine::command().debug_assert();
        for line in [
            &["kalamdb-server"][..],
            &["kalamdb-server", "--config", "x.toml", "serve", "--check-config"],
            &["kalamdb-server", "token", "--user", "ann", "--role", "dba", "--ttl", "1h", "--config", "x.toml"],
            &["kalamdb-server", "healthcheck"],
        ] {
            assert!(CommandLine::try_parse_from(line).is_ok(), "{line:?}");
        }
        for line in [
            &["kalamdb-server", "restore", "dir"][..],
            &["kalamdb-server", "token"],
            &["kalamdb-server", "token", "--user", "ann", "--role", "system"],
            &["kalamdb-server", "token", "--user", ""],
            &["kalamdb-server", "token", "--user", "ann", "--ttl", "soon"],
        ] {
            assert!(CommandLine::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
