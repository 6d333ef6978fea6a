//! What clients must prove: knowledge of one password.
//!
//! The password itself is dropped at start; what stays are the SCRAM-SHA-256 keys derived from it with a random salt, which serve both protocols.

use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, gen_salted_password};

/// The keys of the password.
pub(crate) struct Credentials {
    salt: Vec<u8>,
    salted_password: Vec<u8>,
}

impl Credentials {
    /// Derives the keys. Slow on purpose (thousands of hashes).
    pub(crate) fn new(password: &str) -> Credentials {
        let salt = uuid::Uuid::new_v4().as_bytes().to_vec();
        let salted_password = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        Credentials { salt, salted_password }
    }

    /// The keys in the form that checks a proof.
    pub(crate) fn scram_secret(&self) -> ScramSecret {
        ScramSecret::verifier_from_salted_password(self.salt.clone(), self.salted_password.clone(), SCRAM_ITERATIONS)
    }

    /// Whether `password` is the password. Takes as long whether it is or not.
    pub(crate) fn accepts(&self, password: &str) -> bool {
        let other = gen_salted_password(password, &self.salt, SCRAM_ITERATIONS);
        other.len() == self.salted_password.len()
            && other.iter().zip(&self.salted_password).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_accepted() {
        let credentials = Credentials::new("open sesame");
        assert!(credentials.accepts("open sesame"));
        assert!(!credentials.accepts("open sesame!") && !credentials.accepts(""));
    }
}
