//! The log loses its power, or its disk fails, at every call; what it replays is a prefix that holds every durable record.

use colonnade_storage::disk::Disk;
use colonnade_storage::wal::{Wal, WalError, WalOptions};
use colonnade_testkit::{Fault, Random, SimDisk, Survival};
use colonnade_types::Lsn;

type Record = (Lsn, Vec<u8>);

/// Small files and a small buffer, so that records cross both.
const OPTIONS: WalOptions = WalOptions { file_bytes: 4_096, buffer_bytes: 4_096, spare_files: 1 };

/// What was told to the one who appends.
#[derive(Clone, Debug, Default)]
struct History {
    appended: Vec<Record>,
    durable: Lsn,
    /// Where replay starts: what a checkpoint would say.
    start: Lsn,
}

impl History {
    fn append(&mut self, wal: &Wal, size: usize) -> Result<(), WalError> {
        let byte = self.appended.len() as u8 + 1;
        let payload: Vec<u8> = (0..size).map(|i| byte ^ (i as u8)).collect();
        // It may get to the disk even if the call fails later, but never so that it is replayed: the LSN is not known.
        let lsn = wal.append(&payload)?;
        self.appended.push((lsn, payload));
        Ok(())
    }

    fn flush(&mut self, wal: &Wal) -> Result<(), WalError> {
        if let Some(lsn) = wal.flush_round()? {
            self.durable = lsn;
        }
        Ok(())
    }

    /// Everything a log does: records smaller and larger than files, groups, preparation, removal.
    fn run(&mut self, wal: &Wal) -> Result<(), WalError> {
        for round in 0..9usize {
            for size in [round * 31 % 200, 700 + round] {
                self.append(wal, size)?;
            }
            if round % 4 == 3 {
                self.append(wal, 9_000)?;
            }
            self.flush(wal)?;
            if round % 2 == 1 {
                wal.prepare_next()?;
            }
            if round == 5 {
                let checkpoint = self.durable;
                self.start = checkpoint;
                wal.remove_before(checkpoint)?;
            }
        }
        self.append(wal, 10)
    }

    /// Checks what was replayed from `start` on, and forgets what was lost.
    fn check(&mut self, replayed: &[Record], context: &str) {
        let expected: Vec<_> = self.appended.iter().filter(|(lsn, _)| *lsn > self.start).cloned().collect();
        assert!(replayed.len() <= expected.len(), "{context}: {} records of {}", replayed.len(), expected.len());
        assert!(replayed == &expected[..replayed.len()], "{context}: not a prefix");
        let lost = expected.get(replayed.len()).map(|(lsn, _)| *lsn);
        assert!(lost.is_none_or(|lsn| lsn > self.durable), "{context}: durable record {lost:?} is lost");
        self.appended.retain(|(lsn, _)| lost.is_none_or(|lost| *lsn < lost));
    }
}

fn create(disk: &SimDisk) -> Wal {
    disk.create_dir("wal").unwrap();
    disk.sync_dir("").unwrap();
    Wal::create(disk.shared(), "wal", Lsn(0), OPTIONS).unwrap()
}

fn open(disk: &SimDisk, start: Lsn) -> Result<(Vec<Record>, Wal), WalError> {
    let mut replay = Wal::open(disk.shared(), "wal", start, OPTIONS)?;
    let mut records = Vec::new();
    while let Some(record) = replay.next()? {
        records.push(record);
    }
    Ok((records, replay.finish()?))
}

fn seeds() -> u64 {
    std::env::var("COLONNADE_CRASH_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Calls of a whole run, and what it leaves.
fn whole_run() -> (SimDisk, History, u64) {
    let disk = SimDisk::new();
    let wal = create(&disk);
    let first = disk.calls();
    let mut history = History { start: wal.end_lsn(), ..History::default() };
    history.run(&wal).unwrap();
    (disk, history, first)
}

#[test]
fn a_crash_at_every_call_leaves_a_prefix_with_every_durable_record() {
    let (disk, _, first) = whole_run();
    for call in first..disk.calls() {
        for seed in 0..seeds() {
            let context = format!("crash at call {call}, seed {seed}");
            let disk = SimDisk::new();
            let wal = create(&disk);
            let mut history = History { start: wal.end_lsn(), ..History::default() };
            disk.crash_at(call);
            history.run(&wal).expect_err("the power is cut");
            let image = disk.durable_image(seed);
            let (records, wal) = open(&image, history.start).unwrap_or_else(|error| panic!("{context}: {error}"));
            history.check(&records, &context);
            after_recovery(&image, wal, history, call ^ (seed << 32), &context);
        }
    }
}

/// The log goes on, loses its power again at some call, while recovering or later, and again nothing durable is lost and nothing
/// lost comes back.
fn after_recovery(disk: &SimDisk, wal: Wal, mut history: History, seed: u64, context: &str) {
    let mut random = Random::new(seed);
    history.durable = wal.durable_lsn();
    disk.crash_at(disk.calls() + random.below(12));
    let went_on = (|| {
        for _ in 0..4 {
            history.append(&wal, random.index(1_500))?;
            history.flush(&wal)?;
        }
        Ok::<_, WalError>(())
    })();
    if went_on.is_ok() {
        disk.crash();
    }
    let image = disk.durable_image(random.bits());
    image.crash_at(random.below(8));
    // Power fails while recovering, perhaps.
    let image = match open(&image, history.start) {
        Ok(_) => image,
        Err(error) => {
            assert!(image.crashed(), "{context}, then again: {error}");
            image.durable_image(random.bits())
        }
    };
    image.crash_at(u64::MAX);
    let (records, _) = open(&image, history.start).unwrap_or_else(|error| panic!("{context}, then again: {error}"));
    history.check(&records, &format!("{context}, then again"));
}

#[test]
fn a_failure_at_every_call_is_final_and_loses_nothing_durable() {
    let (disk, _, first) = whole_run();
    for call in first..disk.calls() {
        for fault in [Fault::Io, Fault::Full] {
            let context = format!("{fault:?} at call {call}");
            let disk = SimDisk::new();
            let wal = create(&disk);
            let mut history = History { start: wal.end_lsn(), ..History::default() };
            disk.fail_at(call, fault);
            match history.run(&wal) {
                // A sync of a directory needs no room; a mark is not waited for.
                Ok(()) => {}
                Err(_) if wal.failure().is_some() => {
                    assert!(matches!(wal.append(b"x"), Err(WalError::Failed(_))), "{context}");
                    assert!(matches!(wal.flush_round(), Err(WalError::Failed(_))), "{context}");
                    assert!(wal.wait_for_append(std::time::Duration::ZERO), "{context}");
                }
                // Only preparing or removing files failed: the log goes on.
                Err(_) => {
                    disk.clear_faults();
                    history.append(&wal, 5_000).unwrap();
                    history.flush(&wal).unwrap();
                }
            }
            drop(wal);
            disk.clear_faults();
            let (records, wal) = open(&disk, history.start).unwrap_or_else(|error| panic!("{context}: {error}"));
            history.check(&records, &context);
            // What was replayed is durable now, although the sync that failed may have thrown its pages away.
            history.durable = wal.durable_lsn();
            let image = disk.surviving(Survival::Nothing, 0);
            let (records, _) = open(&image, history.start).unwrap_or_else(|error| panic!("{context}: {error}"));
            history.check(&records, &format!("{context}, then a crash"));
        }
    }
}

/// Opens a damaged log: an error that names the file, or all records.
fn detected_or_harmless(disk: &SimDisk, history: &History, path: &str, context: &str) -> bool {
    match open(disk, history.start) {
        Ok((records, _)) => {
            let expected: Vec<_> = history.appended.iter().filter(|(lsn, _)| *lsn > history.start).cloned().collect();
            assert!(records == expected, "{context}: {} records of {}", records.len(), expected.len());
            false
        }
        Err(error) => {
            assert!(error.to_string().contains(path), "{context}: {error}");
            true
        }
    }
}

#[test]
fn flipped_bits_are_detected_or_harmless() {
    let disk = SimDisk::new();
    let wal = create(&disk);
    let mut history = History { start: wal.end_lsn(), ..History::default() };
    history.run(&wal).unwrap();
    history.flush(&wal).unwrap();
    drop(wal);
    let mut random = Random::new(1);
    let mut detected = 0;
    let files: Vec<_> = disk.list("wal").unwrap().into_iter().filter(|name| name.ends_with(".wal")).collect();
    for name in &files {
        let path = format!("wal/{name}");
        for offset in 0..usize::try_from(disk.len(&path).unwrap()).unwrap() {
            let bit = random.below(8) as u8;
            let image = disk.surviving(Survival::Everything, 0);
            image.corrupt(&path, offset, bit);
            let context = format!("bit {bit} of byte {offset} of {name}");
            detected += u32::from(detected_or_harmless(&image, &history, &path, &context));
        }
    }
    assert!(detected > 10_000, "{detected} in {files:?}");
}

#[test]
fn missing_short_and_empty_files_are_detected() {
    let (_, history, _) = whole_run();
    let intact = || {
        let (disk, _, _) = whole_run();
        disk.surviving(Survival::Everything, 0)
    };
    let start = history.start.0;
    let needed: Vec<_> = intact()
        .list("wal")
        .unwrap()
        .into_iter()
        .filter(|name| {
            let digits = name.strip_suffix(".wal").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            digits.is_some_and(|first| first + OPTIONS.file_bytes > start)
        })
        .collect();
    assert!(needed.len() >= 4, "{needed:?}");
    for (index, name) in needed.iter().enumerate() {
        let path = format!("wal/{name}");
        // The last file was made ready ahead and holds nothing yet, or the record that was not flushed.
        let last = index + 1 == needed.len();
        for len in [0, 63, 64, 1_000, 4_095] {
            let disk = intact();
            disk.truncate(&path, len);
            let error = open(&disk, history.start).expect_err("a short file is noticed").to_string();
            assert!(error.contains(&path), "{error}");
        }
        let disk = intact();
        disk.lose(&path);
        if last {
            continue;
        }
        let error = open(&disk, history.start).expect_err("a missing file is noticed").to_string();
        assert!(error.contains("wal/"), "{error}");
    }
    // Files before the start are not needed.
    let disk = intact();
    disk.put("wal/0000000000000000.wal", vec![7; 100]);
    let (records, _) = open(&disk, history.start).unwrap();
    assert_eq!(records.len(), history.appended.iter().filter(|(lsn, _)| *lsn > history.start).count() - 1);
}

#[test]
fn arbitrary_bytes_in_files_never_panic() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (disk, history, _) = whole_run();
        let disk = disk.surviving(Survival::Everything, 0);
        let names = disk.list("wal").unwrap();
        let path = format!("wal/{}", names[random.index(names.len())]);
        let len = random.index(5_000);
        disk.put(&path, (0..len).map(|_| random.bits() as u8).collect());
        let _ = open(&disk, history.start);
    }
}

/// Two records in one group, a sector each; of all that survives, the cases count where the first is lost and the second is not. The next record
/// ends exactly where the second begins, and still does not bring it back.
#[test]
fn a_record_that_outlived_its_predecessor_never_comes_back() {
    let mut strays = 0;
    for seed in 0..200 {
        let disk = SimDisk::new();
        let wal = create(&disk);
        let mut history = History { start: wal.end_lsn(), ..History::default() };
        // With its frame and the mark behind it, this fills the first sector.
        history.append(&wal, 512 - 64 - 32 - 32).unwrap();
        history.flush(&wal).unwrap();
        for _ in 0..2 {
            history.append(&wal, 512 - 32).unwrap();
        }
        disk.crash_at(disk.calls() + 1);
        wal.flush_round().expect_err("the power is cut in the sync");
        let image = disk.surviving(Survival::Torn, seed);
        let bytes = image.read("wal/0000000000000000.wal").unwrap();
        let (records, wal) = open(&image, history.start).unwrap();
        let stray =
            bytes[512..1_024].iter().all(|byte| *byte == 0) && bytes[1_024..1_536].iter().any(|byte| *byte != 0);
        strays += u32::from(stray && wal.end_lsn() == Lsn(512));
        history.check(&records, "first");
        history.append(&wal, 512 - 32).unwrap();
        history.flush(&wal).unwrap();
        let image = image.surviving(Survival::Everything, seed);
        history.check(&open(&image, history.start).unwrap().0, &format!("seed {seed}"));
    }
    assert!(strays > 10, "{strays}");
}

/// A record of two sectors survives without its second one. The next record, at the same place, has the same bytes there, and survives without
/// its first one: together they would be the lost record.
#[test]
fn a_torn_record_is_not_completed_by_the_next_one() {
    let mut cases = 0;
    for seed in 0..400 {
        let disk = SimDisk::new();
        let wal = create(&disk);
        let mut history = History { start: wal.end_lsn(), ..History::default() };
        history.append(&wal, 512 - 64 - 32 - 32).unwrap();
        history.flush(&wal).unwrap();
        history.append(&wal, 1_024 - 32).unwrap();
        disk.crash_at(disk.calls() + 1);
        wal.flush_round().expect_err("the power is cut in the sync");
        let image = disk.surviving(Survival::Torn, seed);
        let torn = image.read("wal/0000000000000000.wal").unwrap()[512..1_536].to_vec();
        let (records, wal) = open(&image, history.start).unwrap();
        let lost = history.appended.pop().unwrap();
        if records.len() == 2 || wal.end_lsn() != Lsn(512) || torn[..512].iter().all(|byte| *byte == 0) {
            continue;
        }
        cases += 1;
        let mut next = lost.1.clone();
        next[0] ^= 1;
        history.appended.push((wal.append(&next).unwrap(), next));
        image.crash_at(image.calls() + 1);
        wal.flush_round().expect_err("the power is cut in the sync");
        for again in 0..8 {
            let image = image.surviving(Survival::Torn, again);
            history.clone().check(&open(&image, history.start).unwrap().0, &format!("seeds {seed} and {again}"));
        }
    }
    assert!(cases > 20, "{cases}");
}
