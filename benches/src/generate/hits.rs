//! A web analytics table: the 105 columns of ClickBench's `hits`, with its published skews and cardinalities, from a seed.
//!
//! Rows come sorted by counter, day, user and time, as the original's. Pages, titles and referrers are drawn per chunk of a million rows, users, addresses
//! and phrases for the whole table, so that distinct counts grow as the original's do. Equal arguments give equal files.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int16Array, Int32Array, Int64Array, StringBuilder, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::hits_schema::{COLUMNS, Kind, schema};
use super::{parquet_writer, words};
use crate::BenchError;

/// Rows drawn and sorted at once.
const CHUNK_ROWS: usize = 1_000_000;
/// Midnight of 2013-07-01, in seconds.
const FIRST_DAY: i64 = 1_372_636_800;
const DAY_SECONDS: i64 = 86_400;
/// The counter that queries look at, and its share of the rows.
const COUNTER: i32 = 62;
const COUNTER_SHARE: f64 = 0.0074;
/// Values that queries look for.
const KNOWN_USER: i64 = 435_090_932_899_640_449;
const KNOWN_URL_HASH: i64 = 2_868_770_270_353_813_622;
const KNOWN_REFERER_HASH: i64 = 3_594_120_000_172_545_465;

/// Writes `rows` rows to a Parquet file; `progress` hears the number of rows done.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, rows: usize, seed: u64, mut progress: impl FnMut(usize)) -> Result<(), BenchError> {
    let table = Table::new(rows, seed);
    let mut writer = parquet_writer(path, schema())?;
    // The next chunk is drawn while this one is compressed.
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let table = &table;
        scope.spawn(move || {
            let mut start = 0;
            while start < rows {
                let count = CHUNK_ROWS.min(rows - start);
                if sender.send(table.chunk(start, count)).is_err() {
                    return;
                }
                start += count;
            }
        });
        let mut done = 0;
        for batch in receiver {
            let batch = batch?;
            writer.write(&batch)?;
            done += batch.num_rows();
            progress(done);
        }
        Ok::<(), BenchError>(())
    })?;
    writer.close()?;
    Ok(())
}

/// What the whole table shares.
struct Table {
    seed: u64,
    /// Counters in order, each with the row after its last.
    counters: Vec<(i32, usize)>,
    users: Vec<i64>,
    addresses: Vec<i32>,
    phrases: Vec<String>,
    models: Vec<String>,
    domains: Vec<String>,
}

/// What a chunk shares.
struct Texts {
    urls: Vec<String>,
    titles: Vec<String>,
    referers: Vec<String>,
}

/// What the columns of one row are derived from.
struct Row {
    counter: i32,
    day: i64,
    user: usize,
    time: i64,
    url: usize,
    referer: Option<usize>,
    phrase: Option<usize>,
    phone: Option<usize>,
}

/// A rank in `0..n` by a bounded power law; greater `skew` favours small ranks.
fn rank(random: &mut SmallRng, n: usize, skew: f64) -> usize {
    ((n as f64 * random.random::<f64>().powf(skew)) as usize).min(n - 1)
}

impl Table {
    fn new(rows: usize, seed: u64) -> Table {
        let mut random = SmallRng::seed_from_u64(seed);
        let users = (rows * 176 / 1000).max(1000);
        let mut users: Vec<i64> = (0..users).map(|_| random.random_range(-(1 << 62)..1 << 62)).collect();
        let known = users.len() / 3;
        users[known] = KNOWN_USER;
        let addresses = (0..(rows * 99 / 1000).max(1000)).map(|_| random.random()).collect();
        let phrases = words::texts(&mut random, (rows * 6 / 100).max(100), 1..5, " ");
        let mut models: Vec<String> = ["iPad", "iPhone 2", "GT-I9500", "Lumia 1"].map(str::to_owned).to_vec();
        models.extend((0..160).map(|index| format!("Model-{index}")));
        let mut domains: Vec<String> =
            words::texts(&mut random, 4000, 1..2, "").into_iter().map(|w| w + ".ru").collect();
        domains.extend(["google.com", "google.ru", "www.google.ru", "yandex.ru", "mail.ru"].map(str::to_owned));
        let counters = counters(&mut random, rows);
        Table { seed, counters, users, addresses, phrases, models, domains }
    }

    fn texts(&self, random: &mut SmallRng, rows: usize) -> Texts {
        let mut url = |_| {
            let domain = &self.domains[random.random_range(0..self.domains.len())];
            let path = words::text(random, 1..4, "/");
            let number: u32 = random.random_range(0..10_000_000);
            let query = if random.random_bool(0.0008) { "?q=google&id=" } else { "/index.php?id=" };
            format!("http://{domain}/{path}{query}{number}#n={}", number % 97)
        };
        let urls: Vec<String> = (0..(rows * 18 / 100).max(50)).map(&mut url).collect();
        let mut titles = words::texts(random, (rows * 9 / 100).max(50), 3..9, " ");
        titles.iter_mut().step_by(4001).for_each(|title| title.push_str(" - Google"));
        let mut referer = |_| {
            let domain = &self.domains[random.random_range(0..self.domains.len())];
            let number: u32 = random.random_range(0..1_000_000);
            let www = if number.is_multiple_of(3) { "www." } else { "" };
            format!("http://{www}{domain}/{}?from={number}", words::text(random, 1..3, "/"))
        };
        let referers = (0..(rows / 5).max(50)).map(&mut referer).collect();
        Texts { urls, titles, referers }
    }

    fn rows(&self, random: &mut SmallRng, texts: &Texts, start: usize, count: usize) -> Vec<Row> {
        let first = self.counters.partition_point(|(_, end)| *end <= start);
        let mut place = first;
        let mut rows: Vec<Row> = (start..start + count)
            .map(|row| {
                while self.counters[place].1 <= row {
                    place += 1;
                }
                let counter = self.counters[place].0;
                let day = random.random_range(0..31);
                // The sum of three draws is near enough to a bell around the early afternoon.
                let hour: f64 = (0..3).map(|_| random.random::<f64>()).sum::<f64>() / 3.0;
                let second = (((hour - 0.5) * 0.8 + 0.58).clamp(0.0, 0.9999) * DAY_SECONDS as f64) as i64;
                let url = (rank(random, texts.urls.len(), 2.2) + counter as usize * 131) % texts.urls.len();
                Row {
                    counter,
                    day,
                    user: rank(random, self.users.len(), 1.6),
                    time: FIRST_DAY + day * DAY_SECONDS + second,
                    url,
                    referer: random.random_bool(0.81).then(|| rank(random, texts.referers.len(), 2.0)),
                    phrase: random.random_bool(0.1317).then(|| rank(random, self.phrases.len(), 1.7)),
                    phone: random.random_bool(0.055).then(|| rank(random, self.models.len(), 3.0)),
                }
            })
            .collect();
        rows.sort_by_key(|row| (row.counter, row.day, self.users[row.user], row.time));
        rows
    }

    fn chunk(&self, start: usize, count: usize) -> Result<RecordBatch, BenchError> {
        let mut random = SmallRng::seed_from_u64(self.seed.wrapping_mul(1_000_003) ^ start as u64);
        let texts = self.texts(&mut random, count);
        let rows = self.rows(&mut random, &texts, start, count);
        let columns: Vec<ArrayRef> =
            COLUMNS.iter().map(|(_, kind)| self.column(*kind, &rows, &texts, &mut random)).collect();
        Ok(RecordBatch::try_new(schema(), columns)?)
    }

    fn column(&self, kind: Kind, rows: &[Row], texts: &Texts, random: &mut SmallRng) -> ArrayRef {
        const WIDTHS: [i16; 12] = [0, 1024, 1152, 1280, 1366, 1440, 1600, 1680, 1920, 1638, 1996, 2560];
        const HEIGHTS: [i16; 10] = [0, 768, 864, 800, 900, 1050, 1080, 1200, 1440, 600];
        const SOURCES: [i16; 7] = [-1, 0, 1, 2, 3, 6, 7];
        const CHARSETS: [&str; 4] = ["utf-8", "windows-1251", "koi8-r", ""];
        const LANGUAGES: [&str; 5] = ["ru", "en", "uk", "E", "F"];
        const RARE: [&str; 5] = ["", "a", "post", "cpc", "banner"];
        match kind {
            Kind::WatchId => longs(rows, |_| random.random_range(1 << 62..i64::MAX)),
            Kind::User => longs(rows, |row| self.users[row.user]),
            Kind::FirstUser => {
                longs(rows, |row| if random.random_bool(0.3) { 0 } else { self.users[row.user] ^ 0x5bd1_e995 })
            }
            Kind::UrlHash => longs(rows, |row| {
                if row.counter == COUNTER && random.random_bool(0.02) { KNOWN_URL_HASH } else { hash(row.url) }
            }),
            Kind::RefererHash => longs(rows, |row| {
                let known = row.counter == COUNTER && random.random_bool(0.02);
                if known { KNOWN_REFERER_HASH } else { hash(row.referer.map_or(0, |index| index + 1)) }
            }),
            Kind::Wide => longs(rows, |_| rank(random, 1000, 6.0) as i64),
            Kind::Counter => integers(rows, |row| row.counter),
            Kind::ClientIp => integers(rows, |row| self.addresses[row.user * 7919 % self.addresses.len()]),
            Kind::Region => integers(rows, |_| rank(random, 9040, 4.0) as i32 + 2),
            Kind::Medium => integers(rows, |_| rank(random, 20_000, 6.0) as i32),
            Kind::SearchEngine => shorts(rows, |row| row.phrase.map_or(0, |_| 2 + rank(random, 94, 4.0) as i16)),
            Kind::AdvEngine => {
                shorts(rows, |_| if random.random_bool(0.0063) { 1 + rank(random, 17, 3.0) as i16 } else { 0 })
            }
            Kind::MobilePhone => shorts(rows, |row| row.phone.map_or(0, |model| 1 + (model % 60) as i16)),
            Kind::Width => shorts(rows, |_| WIDTHS[rank(random, 12, 1.2)]),
            Kind::Height => shorts(rows, |_| HEIGHTS[rank(random, 10, 1.2)]),
            Kind::Flag(share) => shorts(rows, |_| i16::from(random.random_bool(share))),
            Kind::Source => shorts(rows, |_| SOURCES[rank(random, 7, 1.5)]),
            Kind::Small => shorts(rows, |_| rank(random, 100, 6.0) as i16),
            Kind::EventTime => times(rows, |row| row.time),
            Kind::NearTime => times(rows, |row| row.time + random.random_range(-7200..7200)),
            Kind::EventDate => {
                Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| (row.time / DAY_SECONDS) as i32)))
            }
            Kind::Title => strings(rows, |row| &texts.titles[row.url * 7 % texts.titles.len()]),
            Kind::Url => strings(rows, |row| &texts.urls[row.url]),
            Kind::Referer => strings(rows, |row| row.referer.map_or("", |index| &texts.referers[index])),
            Kind::SearchPhrase => strings(rows, |row| row.phrase.map_or("", |index| &self.phrases[index])),
            Kind::MobileModel => strings(rows, |row| row.phone.map_or("", |index| &self.models[index])),
            Kind::Charset => strings(rows, |_| CHARSETS[rank(random, 4, 2.0)]),
            Kind::Language => strings(rows, |_| LANGUAGES[rank(random, 5, 2.0)]),
            Kind::Minor => {
                let numbers: Vec<String> = (0..30).map(|number| number.to_string()).collect();
                strings(rows, |_| &numbers[rank(random, 30, 3.0)])
            }
            Kind::OriginalUrl => strings(rows, |_| {
                if random.random_bool(0.05) {
                    &texts.urls[random.random_range(0..texts.urls.len().min(2000))]
                } else {
                    ""
                }
            }),
            Kind::RareText => strings(rows, |_| if random.random_bool(0.01) { RARE[rank(random, 5, 1.0)] } else { "" }),
        }
    }
}

/// Counters in ascending order with power-law shares; the known one has its own.
fn counters(random: &mut SmallRng, rows: usize) -> Vec<(i32, usize)> {
    let count = (rows / 1500).clamp(50, 6500);
    let mut ids: Vec<i32> = std::iter::repeat_with(|| random.random_range(100..250_000)).take(count * 2).collect();
    ids.sort_unstable();
    ids.dedup();
    let step = (ids.len() / (count - 1)).max(1);
    let mut ids: Vec<i32> = std::iter::once(COUNTER).chain(ids.into_iter().step_by(step)).take(count).collect();
    ids.sort_unstable();
    let mut weights: Vec<f64> = ids.iter().map(|_| (random.random_range(1..=count) as f64).powf(-1.05)).collect();
    let known = ids.iter().position(|id| *id == COUNTER).unwrap_or(0);
    weights[known] = 0.0;
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight *= (1.0 - COUNTER_SHARE) / sum);
    weights[known] = COUNTER_SHARE;
    let mut total = 0.0;
    let mut ends: Vec<(i32, usize)> = ids
        .into_iter()
        .zip(weights)
        .map(|(id, weight)| {
            total += weight;
            (id, (total * rows as f64).round() as usize)
        })
        .collect();
    if let Some(last) = ends.last_mut() {
        last.1 = rows;
    }
    ends
}

fn hash(index: usize) -> i64 {
    (index as i64).wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493)
}

fn longs(rows: &[Row], value: impl FnMut(&Row) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
}

fn integers(rows: &[Row], value: impl FnMut(&Row) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(value)))
}

fn shorts(rows: &[Row], value: impl FnMut(&Row) -> i16) -> ArrayRef {
    Arc::new(Int16Array::from_iter_values(rows.iter().map(value)))
}

fn times(rows: &[Row], mut seconds: impl FnMut(&Row) -> i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| seconds(row) * 1_000_000)))
}

fn strings<'a>(rows: &'a [Row], mut value: impl FnMut(&'a Row) -> &'a str) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
    rows.iter().for_each(|row| builder.append_value(value(row)));
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn equal_seeds_give_equal_rows_and_the_counter_is_sorted_with_its_share() {
        let chunk = |seed| Table::new(20_000, seed).chunk(0, 20_000).expect("a chunk");
        let batch = chunk(7);
        assert_eq!(batch, chunk(7));
        assert_ne!(batch, chunk(8));
        let counters = batch.column_by_name("CounterID").expect("a column").as_primitive::<Int32Type>();
        assert!(counters.values().is_sorted());
        let share = counters.values().iter().filter(|counter| **counter == COUNTER).count() as f64 / 20_000.0;
        assert!((share - COUNTER_SHARE).abs() < 0.001, "{share}");
    }
}
