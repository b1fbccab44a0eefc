//! Login by SCRAM-SHA-256 (RFC 5802, RFC 7677): neither side learns the password, and both prove that they know it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::sink::address::Login;

/// So many rounds of PBKDF2 at most: the server says how many, and a hostile one must not have us compute for hours.
/// RethinkDB's own default is 4096.
const MAX_ROUNDS: u32 = 1_000_000;
/// Bytes of our nonce.
const NONCE_BYTES: usize = 18;
/// The header `n,,` in base64: no channel binding.
const NO_BINDING: &str = "c=biws";

/// A login that has not heard of the server yet.
#[derive(Debug)]
pub(super) struct Scram {
    login: Login,
    nonce: String,
}

/// What the client says last, and how the server has to answer.
#[derive(Debug)]
pub(super) struct Proof {
    /// The client's last message.
    pub(super) message: String,
    key: [u8; 32],
    transcript: String,
}

/// Why the server's side of the login is not as it must be. None of the texts holds a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// A message that is not SCRAM.
    #[error("the server's part of the login cannot be read")]
    Unreadable,
    /// It answers somebody else.
    #[error("the server answers another login than ours")]
    Nonce,
    /// It asks for more work than it is worth.
    #[error("the server asks for {0} rounds of hashing, more than {MAX_ROUNDS}")]
    Rounds(u32),
    /// It does not know the password itself: it is not the server it says it is.
    #[error("the server does not know the password either: it may be an impostor")]
    Impostor,
}

impl Scram {
    /// A login with a nonce that nobody can guess.
    pub(super) fn new(login: Login) -> Result<Self, getrandom::Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        Ok(Scram { login, nonce: STANDARD.encode(nonce) })
    }

    /// What the client says first.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        let user = self.login.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// The client's proof, made for the server's first message. It computes for milliseconds.
    pub(super) fn prove(&self, server_first: &str) -> Result<Proof, Error> {
        let nonce = attribute(server_first, "r").ok_or(Error::Unreadable)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(Error::Nonce);
        }
        let salt = attribute(server_first, "s").and_then(|salt| STANDARD.decode(salt).ok());
        let rounds = attribute(server_first, "i").and_then(|rounds| rounds.parse().ok());
        let (Some(salt), Some(rounds @ 1..)) = (salt, rounds) else { return Err(Error::Unreadable) };
        if rounds > MAX_ROUNDS {
            return Err(Error::Rounds(rounds));
        }
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(self.login.password.as_bytes(), &salt, rounds, &mut salted);

        let bare = format!("{NO_BINDING},r={nonce}");
        let transcript = format!("{},{server_first},{bare}", self.first_bare());
        let client_key = sign(&salted, b"Client Key");
        let mut proof = sign(&Sha256::digest(client_key).into(), transcript.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(byte, key)| *byte ^= key);
        Ok(Proof {
            message: format!("{bare},p={}", STANDARD.encode(proof)),
            key: sign(&salted, b"Server Key"),
            transcript,
        })
    }
}

impl Proof {
    /// Whether the server's last message proves that it knows the password too.
    pub(super) fn verify(&self, server_last: &str) -> Result<(), Error> {
        let signature = attribute(server_last, "v").and_then(|signature| STANDARD.decode(signature).ok());
        let signature = signature.ok_or(Error::Unreadable)?;
        hmac(&self.key, self.transcript.as_bytes()).verify_slice(&signature).map_err(|_| Error::Impostor)
    }
}

/// The value of an attribute of a message: `name=value,name=value`.
fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|attribute| attribute.strip_prefix(name)?.strip_prefix('='))
}

fn sign(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    hmac(key, message).finalize().into_bytes().into()
}

fn hmac(key: &[u8; 32], message: &[u8]) -> Hmac<Sha256> {
    // A key shorter than a block stands for itself and zeros (RFC 2104).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::<Sha256>::new(&block.into()).chain_update(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_LAST: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn scram() -> Scram {
        let login = Login { user: "user".into(), password: "pencil".into() };
        Scram { login, nonce: "rOprNGfwEbeRWgbNEkqO".into() }
    }

    #[test]
    fn the_example_of_the_rfc_is_proved_and_verified() {
        assert_eq!(scram().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram().prove(SERVER_FIRST).unwrap();
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proof.verify(SERVER_LAST), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_an_impostor() {
        let proof = scram().prove(SERVER_FIRST).unwrap();
        let other = SERVER_LAST.replace("6rr", "7rr");
        assert_eq!(proof.verify(&other), Err(Error::Impostor));
        assert_eq!(proof.verify("v="), Err(Error::Impostor));
        assert_eq!(proof.verify("e=other"), Err(Error::Unreadable));
    }

    #[test]
    fn a_first_message_of_the_server_that_is_not_for_us_is_refused() {
        let with = |from: &str, to: &str| scram().prove(&SERVER_FIRST.replace(from, to)).unwrap_err();
        assert_eq!(with("rOpr", "xOpr"), Error::Nonce);
        assert_eq!(with("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""), Error::Nonce);
        assert_eq!(with("4096", "0"), Error::Unreadable);
        assert_eq!(with("4096", "many"), Error::Unreadable);
        assert_eq!(with("4096", "1000001"), Error::Rounds(1_000_001));
        assert_eq!(with("W22", "!"), Error::Unreadable);
    }

    #[test]
    fn a_user_is_escaped_and_nonces_differ() {
        let login = || Login { user: "a,b=c".into(), password: "".into() };
        let (one, two) = (Scram::new(login()).unwrap(), Scram::new(login()).unwrap());
        assert!(one.first().starts_with("n,,n=a=2Cb=3Dc,r="));
        assert_ne!(one.first(), two.first());
    }
}
