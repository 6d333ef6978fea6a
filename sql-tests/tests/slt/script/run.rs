//! Plays a script.
//!
//! A statement runs as a task that owns its connection. After each the runner looks, again and again, at every task that has not ended: has the server
//! answered, or does the server say that this session waits for a lock? When the latter holds twice in a row, some milliseconds apart, the session counts as
//! waiting. Why twice: a server may show a wait for a moment longer than it lasts. Why that is enough: what ends a wait, the end of the transaction that
//! holds the lock, has happened before its statement was answered, and only then does the runner look.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::client::Client;
use super::file::{Line, Script, Step};
use crate::Place;

/// A statement that has neither been answered nor waits for a lock after this time is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

type Answer = (Client, Result<Vec<String>, String>);

/// What a session is doing.
enum State {
    Idle(Client),
    Running { task: JoinHandle<Answer>, process_id: i32 },
}

struct Runner<'a> {
    place: Place,
    target: &'a str,
    monitor: Client,
    sessions: BTreeMap<String, State>,
}

/// Plays it and returns the file as it would have to be.
pub(super) async fn run(script: &Script, place: Place, target: &str) -> Result<String, String> {
    let monitor = Client::connect(target).await?;
    let mut runner = Runner { place, target, monitor, sessions: BTreeMap::new() };
    let mut text = String::new();
    for line in &script.lines {
        match line {
            Line::Text(line) => {
                text += line;
                text.push('\n');
            }
            Line::Step(step) => {
                text += &step.line();
                let answers = runner.step(step).await.map_err(|error| format!("{text}  {error}"))?;
                for line in answers {
                    text += &format!("  {line}\n");
                }
            }
        }
    }
    match runner.sessions.iter().find(|(_, state)| matches!(state, State::Running { .. })) {
        Some((name, _)) => Err(format!("{text}\nthe file ends while session {name} waits")),
        None => Ok(text),
    }
}

impl Runner<'_> {
    /// Sends a statement, lets everything settle, and returns the answers: its own first, then those of others by name.
    async fn step(&mut self, step: &Step) -> Result<Vec<String>, String> {
        let mut client = match self.sessions.remove(&step.session) {
            Some(State::Idle(client)) => client,
            Some(State::Running { .. }) => return Err(format!("session {} is still waiting", step.session)),
            None => Client::connect(self.target).await?,
        };
        let (sql, process_id) = (step.sql.clone(), client.process_id());
        let task = tokio::spawn(async move {
            let answer = client.query(&sql).await;
            (client, answer)
        });
        self.sessions.insert(step.session.clone(), State::Running { task, process_id });
        let mut answers = self.settle(step).await?;
        let mut lines = match answers.remove(&step.session) {
            Some(own) => own,
            None => vec!["waits".to_owned()],
        };
        for (name, answer) in answers {
            lines.extend(answer.into_iter().map(|line| format!("{name}: {line}")));
        }
        Ok(lines)
    }

    /// Waits until every session has answered or waits for a lock.
    async fn settle(&mut self, step: &Step) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut answers = BTreeMap::new();
        let mut settled = 0;
        let begin = Instant::now();
        while settled < 2 {
            if begin.elapsed() > PATIENCE {
                return Err("neither an answer nor a wait for a lock".to_owned());
            }
            tokio::time::sleep(POLL).await;
            let before = answers.len();
            self.collect(&mut answers).await?;
            let mut open = Vec::new();
            for (name, state) in &self.sessions {
                if let State::Running { process_id, .. } = state {
                    open.push((*process_id, step.to_the_end && *name == step.session));
                }
            }
            if open.is_empty() {
                break;
            }
            let mut waiting = answers.len() == before;
            for (process_id, to_the_end) in open {
                waiting = waiting && !to_the_end && self.waits(process_id).await?;
            }
            settled = if waiting { settled + 1 } else { 0 };
        }
        Ok(answers)
    }

    /// Takes the answers that have come.
    async fn collect(&mut self, answers: &mut BTreeMap<String, Vec<String>>) -> Result<(), String> {
        for (name, state) in &mut self.sessions {
            if let State::Running { task, .. } = state
                && task.is_finished()
            {
                let (client, answer) = task.await.map_err(|error| error.to_string())?;
                answers.insert(name.clone(), answer.map_err(|error| format!("session {name}: {error}"))?);
                *state = State::Idle(client);
            }
        }
        Ok(())
    }

    /// Whether the server says that a session waits for a lock.
    async fn waits(&mut self, process_id: i32) -> Result<bool, String> {
        let sql = match self.place {
            // The same question that PostgreSQL's own tests of isolation ask.
            Place::Postgres => format!("SELECT cardinality(pg_blocking_pids({process_id})) > 0"),
            _ => format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {process_id}"),
        };
        let answer = self.monitor.query(&sql).await?;
        Ok(answer.first().is_some_and(|line| line == "t"))
    }
}
