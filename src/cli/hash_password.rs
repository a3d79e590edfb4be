//! `hash-password`: the argon2id hash of a password, for `ORW_ADMINS` and `ORW_ADMINS_FILE`; or, with `--scram`, the SCRAM-SHA-256 hash
//! that `ORW_CONSOLE_USERS_FILE` asks for.
//!
//! Guarantees: the password comes from a prompt without echo or from standard input, never from the command line, which every
//! user of the machine can read; it is in no output and no error.

use std::io::{self, IsTerminal as _, Read};
use std::process::ExitCode;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, SaltString};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output;
use crate::console::{self, ConsoleUser, Role};
use crate::random::random;

/// The longest password that the API and the console check, in bytes.
const LONGEST: usize = 1024;

#[derive(Debug, Args)]
pub(super) struct HashPasswordArgs {
    /// Print the whole entry USER:HASH, as ORW_ADMINS and a line of ORW_ADMINS_FILE or ORW_CONSOLE_USERS_FILE have it
    #[arg(value_parser = user)]
    user: Option<String>,
    /// Make a SCRAM-SHA-256 hash, for ORW_CONSOLE_USERS_FILE
    #[arg(long)]
    scram: bool,
    /// What the user of the console may do: reader (the default) or operator
    #[arg(long, value_parser = role, requires = "scram", requires = "user")]
    role: Option<Role>,
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "the roles are reader and operator".to_owned())
}

/// A name that can stand before the colon of an entry.
fn user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains([':', ',']) || text.starts_with('#') {
        return Err(
            "a user's name has no colon, no comma, no blank at an end and no # at its beginning".to_owned(),
        );
    }
    if text.chars().any(char::is_control) {
        return Err("a user's name has no control characters".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(args: HashPasswordArgs) -> anyhow::Result<ExitCode> {
    let read = if io::stdin().is_terminal() {
        prompted()
    } else {
        from(io::stdin().lock())
    };
    match read.and_then(|password| entry(&args, &password)) {
        Ok(entry) => output::say(entry),
        Err(failure) => {
            output::print_failure(&failure);
            return Ok(failure.code());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is printed: the hash, or the whole entry of a user.
fn entry(args: &HashPasswordArgs, password: &SecretString) -> Result<String, Failure> {
    check(password)?;
    if !args.scram {
        let hash = argon2id(password)?;
        return Ok(match &args.user {
            Some(user) => format!("{user}:{hash}"),
            None => hash,
        });
    }
    let hash = console::scram_hash(password).map_err(|error| Failure::Failed(error.to_string()))?;
    match &args.user {
        Some(user) => ConsoleUser::line(user, &hash, args.role).map_err(Failure::Usage),
        None => Ok(hash),
    }
}

/// Asks twice, without echo.
fn prompted() -> Result<SecretString, Failure> {
    let ask = |question: &str| {
        rpassword::prompt_password(question)
            .map(SecretString::from)
            .map_err(|error| {
                Failure::Failed(format!("the password cannot be read from the terminal: {error}"))
            })
    };
    let password = ask("Password: ")?;
    if ask("The same again: ")?.expose_secret() != password.expose_secret() {
        return Err(Failure::Usage(
            "the two passwords differ; run the command again".to_owned(),
        ));
    }
    Ok(password)
}

/// The only line of `input`. Its end is not part of the password.
fn from(input: impl Read) -> Result<SecretString, Failure> {
    let mut text = Zeroizing::new(String::new());
    // Two bytes more than the longest password, for the end of the line; and one that shows that there is more.
    let most = LONGEST as u64 + 3;
    input.take(most).read_to_string(&mut text).map_err(|error| {
        Failure::Failed(format!(
            "the password cannot be read from standard input: {error}"
        ))
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains(['\n', '\r']) {
        return Err(Failure::Usage(
            "standard input has more than one line; give the password alone".to_owned(),
        ));
    }
    Ok(SecretString::from(line))
}

/// That it is a password which the API and the console take.
fn check(password: &SecretString) -> Result<(), Failure> {
    let bytes = password.expose_secret();
    if bytes.is_empty() {
        return Err(Failure::Usage(
            "the password is empty; type one, or send it to standard input".to_owned(),
        ));
    }
    if bytes.len() > LONGEST {
        return Err(Failure::Usage(format!(
            "the password is longer than {LONGEST} bytes, the most that is accepted"
        )));
    }
    Ok(())
}

fn argon2id(password: &SecretString) -> Result<String, Failure> {
    let bytes = password.expose_secret().as_bytes();
    let salt = random::<16>().map_err(|error| Failure::Failed(error.to_string()))?;
    // The default parameters of the crate are OWASP's: 19 MiB, two passes, one lane.
    SaltString::encode_b64(&salt)
        .and_then(|salt| {
            Argon2::default()
                .hash_password(bytes, &salt)
                .map(|hash| hash.to_string())
        })
        .map_err(|error| Failure::Failed(format!("the password cannot be hashed: {error}")))
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHash, PasswordVerifier as _};

    use super::*;

    #[test]
    fn one_line_is_the_password() {
        let read = |text: &str| from(text.as_bytes()).map(|password| password.expose_secret().to_owned());
        assert_eq!(read(" se:cret \r\n").unwrap(), " se:cret ");
        assert_eq!(read("secret").unwrap(), "secret");
        assert_eq!(read("two\nlines\n").unwrap_err().code(), ExitCode::from(2));
        let longest = "ä".repeat(LONGEST / 2);
        assert!(check(&from(format!("{longest}\r\n").as_bytes()).unwrap()).is_ok());
        for wrong in [
            String::new(),
            "\n".to_owned(),
            format!("{longest}x\n"),
            "x".repeat(1 << 20),
        ] {
            let refused = from(wrong.as_bytes()).and_then(|password| check(&password));
            assert_eq!(refused.unwrap_err().code(), ExitCode::from(2));
        }
    }

    #[test]
    fn the_hash_is_of_this_password_and_salted() {
        let secret = SecretString::from("secret");
        let (one, two) = (argon2id(&secret).unwrap(), argon2id(&secret).unwrap());
        assert!(
            one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && one != two,
            "{one} {two}"
        );
        let parsed = PasswordHash::new(&one).unwrap();
        let fits = |password: &[u8]| Argon2::default().verify_password(password, &parsed).is_ok();
        assert!(fits(b"secret") && !fits(b"Secret"));
    }

    #[test]
    fn a_user_fits_into_an_entry() {
        assert!(user("admin").is_ok() && user("ada.lovelace@example.org").is_ok());
        for wrong in ["", "a:b", "a,b", " a", "#a", "a\nb"] {
            assert!(user(wrong).is_err(), "{wrong:?}");
        }
    }
}
