//! Sequences: number generators that no rollback takes back.
//!
//! A value is logged before it is given, 32 values ahead, as PostgreSQL does: most calls log nothing, and a crash skips at most 32 values but never gives one twice.
//! The record is durable with the next commit that is, because the log is written in order.

use std::collections::HashMap;

use colonnade_types::{Oid, SequenceDefinition};
use parking_lot::Mutex;

use crate::error::SequenceError;
use crate::sequence::SequenceState;

/// Values logged ahead.
const AHEAD: u32 = 32;

#[derive(Clone, Copy, Debug)]
struct Entry {
    now: SequenceState,
    logged: SequenceState,
    /// Calls that need no new record.
    ahead: u32,
}

/// The states of all sequences.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    entries: Mutex<HashMap<Oid, Entry>>,
}

fn initial(sequence: &SequenceDefinition) -> SequenceState {
    SequenceState { last_value: sequence.start, is_called: false }
}

/// The value after `state`; `None` past a bound.
fn step(sequence: &SequenceDefinition, state: SequenceState) -> Option<i64> {
    if !state.is_called {
        return Some(state.last_value);
    }
    state.last_value.checked_add(sequence.increment).filter(|next| (sequence.min..=sequence.max).contains(next))
}

impl Sequences {
    /// Starts from recovered states.
    pub(crate) fn recovered(states: impl Iterator<Item = (Oid, SequenceState)>) -> Sequences {
        let entry = |now| Entry { now, logged: now, ahead: 0 };
        Sequences { entries: Mutex::new(states.map(|(oid, state)| (oid, entry(state))).collect()) }
    }

    /// Takes the next value. `log` is called, with the state to survive a crash, when values ahead have run out.
    pub(crate) fn next(
        &self,
        sequence: &SequenceDefinition,
        log: impl FnOnce(SequenceState) -> Result<(), String>,
    ) -> Result<i64, SequenceError> {
        let mut entries = self.entries.lock();
        let start = initial(sequence);
        let entry = entries.entry(sequence.oid).or_insert(Entry { now: start, logged: start, ahead: 0 });
        let (value, wrapped) = match step(sequence, entry.now) {
            Some(value) => (value, false),
            None if sequence.cycle => (if sequence.increment > 0 { sequence.min } else { sequence.max }, true),
            None => {
                let (bound, value) =
                    if sequence.increment > 0 { ("maximum", sequence.max) } else { ("minimum", sequence.min) };
                return Err(SequenceError::Exhausted { bound, name: sequence.name.clone(), value });
            }
        };
        if entry.ahead == 0 || wrapped {
            let mut logged = SequenceState { last_value: value, is_called: true };
            let mut ahead = 0;
            while ahead < AHEAD {
                let Some(next) = step(sequence, logged) else { break };
                logged.last_value = next;
                ahead += 1;
            }
            log(logged).map_err(SequenceError::Failed)?;
            entry.logged = logged;
            entry.ahead = ahead;
        } else {
            entry.ahead -= 1;
        }
        entry.now = SequenceState { last_value: value, is_called: true };
        Ok(value)
    }

    /// Sets a state.
    pub(crate) fn set(
        &self,
        sequence: Oid,
        state: SequenceState,
        log: impl FnOnce(SequenceState) -> Result<(), String>,
    ) -> Result<(), SequenceError> {
        let mut entries = self.entries.lock();
        log(state).map_err(SequenceError::Failed)?;
        entries.insert(sequence, Entry { now: state, logged: state, ahead: 0 });
        Ok(())
    }

    /// The state now.
    pub(crate) fn state(&self, sequence: &SequenceDefinition) -> SequenceState {
        self.entries.lock().get(&sequence.oid).map_or(initial(sequence), |entry| entry.now)
    }

    /// What a checkpoint keeps: states that no value given later, without a record, goes past.
    pub(crate) fn dump(&self) -> Vec<(Oid, SequenceState)> {
        self.entries.lock().iter().map(|(oid, entry)| (*oid, entry.logged)).collect()
    }

    /// What the checkpoint of a close keeps: the states now, when no more values are given.
    pub(crate) fn dump_exact(&self) -> Vec<(Oid, SequenceState)> {
        self.entries.lock().iter().map(|(oid, entry)| (*oid, entry.now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colonnade_types::SqlType;

    fn sequence(start: i64, increment: i64, min: i64, max: i64, cycle: bool) -> SequenceDefinition {
        SequenceDefinition {
            oid: Oid(20_000),
            schema: Oid::PUBLIC,
            name: "s".to_owned(),
            owner: "colonnade".to_owned(),
            sql_type: SqlType::BigInt,
            start,
            increment,
            min,
            max,
            cycle,
            cache: 1,
            owned_by: None,
        }
    }

    /// Whatever moment a crash comes, the log's last state is at or past every value given.
    #[test]
    fn no_value_is_given_that_the_log_is_not_past() {
        let sequence = sequence(1, 1, 1, 1_000, false);
        let sequences = Sequences::default();
        let mut logged = None;
        let mut records = 0;
        for expected in 1..=200 {
            let value = sequences.next(&sequence, |state| {
                logged = Some(state);
                records += 1;
                Ok(())
            });
            assert_eq!(value.unwrap(), expected);
            assert!(logged.is_some_and(|state| state.last_value >= expected && state.is_called));
        }
        assert_eq!(records, 7, "one record for 33 values");
        let recovered = Sequences::recovered(sequences.dump().into_iter());
        assert_eq!(recovered.next(&sequence, |_| Ok(())).unwrap(), 232);
        let closed = Sequences::recovered(sequences.dump_exact().into_iter());
        assert_eq!(closed.next(&sequence, |_| Ok(())).unwrap(), 201);
    }

    #[test]
    fn bounds_end_or_cycle() {
        let ends = sequence(99, 1, 1, 100, false);
        let sequences = Sequences::default();
        assert_eq!(sequences.next(&ends, |_| Ok(())).unwrap(), 99);
        assert_eq!(sequences.next(&ends, |_| Ok(())).unwrap(), 100);
        let error = sequences.next(&ends, |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "nextval: reached maximum value of sequence \"s\" (100)");
        let down = sequence(-1, -1, -2, -1, true);
        let cycling = Sequences::default();
        let values: Vec<_> = (0..5).map(|_| cycling.next(&down, |_| Ok(())).unwrap()).collect();
        assert_eq!(values, [-1, -2, -1, -2, -1]);
    }

    #[test]
    fn a_set_state_counts_from_there() {
        let sequence = sequence(1, 1, 1, i64::MAX, false);
        let sequences = Sequences::default();
        sequences.set(sequence.oid, SequenceState { last_value: 42, is_called: false }, |_| Ok(())).unwrap();
        assert_eq!(sequences.next(&sequence, |_| Ok(())).unwrap(), 42);
        sequences.set(sequence.oid, SequenceState { last_value: 42, is_called: true }, |_| Ok(())).unwrap();
        assert_eq!(sequences.next(&sequence, |_| Ok(())).unwrap(), 43);
        assert_eq!(sequences.state(&sequence), SequenceState { last_value: 43, is_called: true });
    }
}
