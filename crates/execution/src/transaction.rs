//! Where a session is between BEGIN and COMMIT.

/// What ReadyForQuery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a transaction block that failed and waits for ROLLBACK.
    Failed,
}

impl TransactionStatus {
    /// The letter on the wire: `I`, `T` or `E`.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}
