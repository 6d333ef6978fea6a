//! Which segments of a table are merged next.
//!
//! ```text
//! rows    1 M ┤ ███ ███ ▒▒▒        full ones stay, unless many of their rows are deleted (▒) or
//!             │ ███ ███ ▒▒▒        too many of them lie over the same keys
//!     target/2┤ ███ ███ ▒▒▒
//!             │             ██ ██ ▄▄ ▂▂ ▂▂ ▂▂ ▂▂      small ones are merged, the smallest first, when enough of like size are there
//! ```
//!
//! Every reason gives a job with a score: rows that are gained for every row that is written anew. A row of the gain is a deleted row that goes, or a share of a
//! segment that there is less of. The job with the greatest score is done first, so the least work buys the most.
//!
//! **Bounds.** A segment is merged as a small one only together with at least as many rows of smaller ones as it has itself, about; so a row is written anew some
//! `log2(target / rows of a flush)` times until its segment is full. A rewrite for deletes is paid by deletes: at a fifth, five rows are written for one that was deleted.
//! Overlap is reduced only beyond [`OVERLAP_MAX`] segments over one key, and every job reduces it.

/// What the choice knows of a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    /// Rows, deleted ones included.
    pub(crate) rows: u64,
    /// Rows that would be left out.
    pub(crate) deleted: u64,
    /// Least and greatest value of the first sort column, as bytes that compare like it; `None` if there is no order or it is not known.
    pub(crate) range: Option<(Vec<u8>, Vec<u8>)>,
}

impl Candidate {
    fn live(&self) -> u64 {
        self.rows.saturating_sub(self.deleted)
    }

    /// Whether some value is inside both ranges, and not only at their ends: merging would set them apart.
    fn overlaps(&self, other: &Candidate) -> bool {
        match (&self.range, &other.range) {
            (Some((min, max)), Some((other_min, other_max))) => min.max(other_min) < max.min(other_max),
            _ => false,
        }
    }
}

/// How much is worth doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// What pays while the table is written to.
    Due,
    /// What pays while nobody writes to it.
    Idle,
}

/// Segments to be merged, by index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// Ascending.
    pub(crate) inputs: Vec<usize>,
    /// Rows gained for every row written.
    pub(crate) score: f64,
}

/// Segments that lie over one key before that is a reason to merge them.
const OVERLAP_MAX: usize = 8;
/// Small segments of like size before they are merged, while the table is written to.
const SMALL_MIN: usize = 4;
/// A segment less is worth this share of a full segment's rows.
const SEGMENT_WORTH: u64 = 16;
/// However small a segment, in the comparison of sizes it counts as this share of a full one.
const LEAST_SHARE: u64 = 128;

impl Effort {
    /// The percentage of deleted rows from which on a segment is rewritten.
    fn deleted_percent(self) -> u64 {
        match self {
            Effort::Due => 20,
            Effort::Idle => 10,
        }
    }

    fn small_min(self) -> usize {
        match self {
            Effort::Due => SMALL_MIN,
            Effort::Idle => 2,
        }
    }
}

/// The best job; `None` if nothing is worth it. `target` is the rows of a full segment, `rows_max` bounds the rows of a job.
pub(crate) fn choose(segments: &[Candidate], target: u64, rows_max: u64, effort: Effort) -> Option<Job> {
    let target = target.max(1);
    let empty: Vec<usize> = indices(segments, |segment| segment.live() == 0);
    if !empty.is_empty() {
        return Some(Job { inputs: empty, score: f64::INFINITY });
    }
    let jobs = [
        small(segments, target, rows_max, effort),
        deleted(segments, target, rows_max, effort),
        overlapping(segments, target, rows_max),
    ];
    jobs.into_iter().flatten().max_by(|a, b| a.score.total_cmp(&b.score))
}

/// The jobs that leave nothing to be done: no small segment, no deleted row, no overlap within what fits a job. With `deleted_only`, those that leave no
/// deleted row.
pub(crate) fn choose_all(segments: &[Candidate], target: u64, rows_max: u64, deleted_only: bool) -> Vec<Vec<usize>> {
    let target = target.max(1);
    let is_due = |index: usize| {
        let segment = &segments[index];
        segment.deleted > 0
            || !deleted_only
                && (segment.live() < target - target / 8
                    || segments.iter().enumerate().any(|(other, of)| other != index && of.overlaps(segment)))
    };
    let mut due: Vec<usize> = (0..segments.len()).filter(|index| is_due(*index)).collect();
    // Neighbours in the order of the table go together.
    due.sort_by(|a, b| segments[*a].range.cmp(&segments[*b].range).then(a.cmp(b)));
    let mut jobs: Vec<Vec<usize>> = Vec::new();
    let mut rows = 0;
    for index in due {
        let live = segments[index].live();
        match jobs.last_mut() {
            Some(job) if rows + live <= rows_max => {
                job.push(index);
                rows += live;
            }
            _ => {
                jobs.push(vec![index]);
                rows = live;
            }
        }
    }
    // What would come out as it went in stays as it is.
    jobs.retain(|job| {
        let live: u64 = job.iter().map(|index| segments[*index].live()).sum();
        let overlap = || {
            let pairs = job.iter().enumerate().flat_map(|(at, a)| job[at + 1..].iter().map(move |b| (*a, *b)));
            !deleted_only && pairs.into_iter().any(|(a, b)| segments[a].overlaps(&segments[b]))
        };
        job.iter().any(|index| segments[*index].deleted > 0) || job.len() as u64 > live.div_ceil(target) || overlap()
    });
    jobs.iter_mut().for_each(|job| job.sort_unstable());
    jobs
}

/// Segments that are small and not the only one, or have many deleted rows, and rows that are deleted: what compaction still has before it.
pub(crate) fn debt(segments: &[Candidate], target: u64) -> (u64, u64) {
    let has_small = small_count(segments, target) > 1;
    let is_due = |segment: &&Candidate| {
        has_small && segment.live() < target / 2
            || segment.deleted * 100 >= segment.rows.max(1) * Effort::Idle.deleted_percent()
    };
    (segments.iter().filter(is_due).count() as u64, segments.iter().map(|segment| segment.deleted).sum())
}

/// Small segments: how many there are.
pub(crate) fn small_count(segments: &[Candidate], target: u64) -> u64 {
    segments.iter().filter(|segment| segment.live() < target / 2).count() as u64
}

fn indices(segments: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<usize> {
    segments.iter().enumerate().filter(|(_, segment)| wanted(segment)).map(|(index, _)| index).collect()
}

fn job(segments: &[Candidate], mut inputs: Vec<usize>, target: u64) -> Job {
    inputs.sort_unstable();
    let live: u64 = inputs.iter().map(|index| segments[*index].live()).sum();
    let deleted: u64 = inputs.iter().map(|index| segments[*index].deleted).sum();
    let fewer = (inputs.len() as u64).saturating_sub(live.div_ceil(target));
    let gain = deleted + fewer * (target / SEGMENT_WORTH);
    Job { inputs, score: gain as f64 / live.max(1) as f64 }
}

/// Small segments of like size.
fn small(segments: &[Candidate], target: u64, rows_max: u64, effort: Effort) -> Option<Job> {
    let mut small = indices(segments, |segment| segment.live() < target / 2);
    small.sort_by_key(|index| segments[*index].live());
    let least = target / LEAST_SHARE;
    let mut best: Option<Job> = None;
    let mut start = 0;
    while start < small.len() {
        let (mut end, mut rows) = (start, 0);
        while end < small.len() {
            let live = segments[small[end]].live();
            // Not much larger than all before it together, or it would be written anew for little.
            if (end > start && live > rows.max(least)) || rows + live > rows_max.min(target + target / 2) {
                break;
            }
            rows += live;
            end += 1;
        }
        if end - start >= effort.small_min() {
            let found = job(segments, small[start..end].to_vec(), target);
            if best.as_ref().is_none_or(|best| best.score < found.score) {
                best = Some(found);
            }
        }
        start = end.max(start + 1);
    }
    best
}

/// Segments with many deleted rows, the most first.
fn deleted(segments: &[Candidate], target: u64, rows_max: u64, effort: Effort) -> Option<Job> {
    let percent = effort.deleted_percent();
    let mut due = indices(segments, |segment| segment.deleted * 100 >= segment.rows.max(1) * percent);
    due.sort_by_key(|index| segments[*index].live() * 1_000 / segments[*index].rows.max(1));
    let mut inputs = Vec::new();
    let mut rows = 0;
    for index in due {
        let live = segments[index].live();
        if !inputs.is_empty() && rows + live > rows_max {
            break;
        }
        inputs.push(index);
        rows += live;
    }
    // A few rows deleted from a tiny segment wait until it is merged anyway.
    let gone: u64 = inputs.iter().map(|index| segments[*index].deleted).sum();
    let least = if effort == Effort::Idle { 1 } else { target / LEAST_SHARE };
    (gone >= least.max(1)).then(|| job(segments, inputs, target))
}

/// Segments over the same keys, where there are too many.
fn overlapping(segments: &[Candidate], target: u64, rows_max: u64) -> Option<Job> {
    let full = indices(segments, |segment| segment.live() >= target / 2 && segment.range.is_some());
    // The depth is greatest at the least key of some segment.
    let over = |start: usize| -> Vec<usize> {
        let other = |index: &usize| *index == start || segments[*index].overlaps(&segments[start]);
        let covers = |index: &usize| match (&segments[*index].range, &segments[start].range) {
            (Some((min, _)), Some((key, _))) => min <= key,
            _ => false,
        };
        full.iter().copied().filter(|index| other(index) && covers(index)).collect()
    };
    let deepest = full.iter().map(|start| over(*start)).max_by_key(Vec::len)?;
    if deepest.len() <= OVERLAP_MAX {
        return None;
    }
    let mut inputs = Vec::new();
    let mut rows = 0;
    for index in &deepest {
        let live = segments[*index].live();
        if rows + live > rows_max {
            break;
        }
        inputs.push(*index);
        rows += live;
    }
    let gain = (deepest.len() - OVERLAP_MAX) as u64 * (target / SEGMENT_WORTH);
    inputs.sort_unstable();
    (inputs.len() > 1).then(|| Job { inputs, score: gain as f64 / rows.max(1) as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: u64 = 1 << 20;

    fn segment(rows: u64, deleted: u64) -> Candidate {
        Candidate { rows, deleted, range: None }
    }

    fn over(min: u8, max: u8) -> Candidate {
        Candidate { rows: TARGET, deleted: 0, range: Some((vec![min], vec![max])) }
    }

    fn chosen(segments: &[Candidate], effort: Effort) -> Vec<usize> {
        choose(segments, TARGET, 4 * TARGET, effort).map_or_else(Vec::new, |job| job.inputs)
    }

    #[test]
    fn full_segments_stay() {
        assert_eq!(chosen(&[], Effort::Due), [] as [usize; 0]);
        let full = vec![segment(TARGET, 0), segment(TARGET, TARGET / 11), segment(TARGET * 2 / 3, 0)];
        assert_eq!(chosen(&full, Effort::Idle), [] as [usize; 0]);
    }

    #[test]
    fn small_ones_are_merged_with_their_like() {
        let flush = TARGET / 8;
        let mut segments = vec![segment(TARGET, 0), segment(flush, 0), segment(flush, 0), segment(flush, 0)];
        assert_eq!(chosen(&segments, Effort::Due), [] as [usize; 0], "three are too few");
        assert_eq!(chosen(&segments, Effort::Idle), [1, 2, 3]);
        segments.push(segment(flush, 0));
        assert_eq!(chosen(&segments, Effort::Due), [1, 2, 3, 4]);
        // A large one is not written anew for a tiny one.
        assert_eq!(chosen(&[segment(TARGET / 3, 0), segment(100, 0)], Effort::Idle), [] as [usize; 0]);
    }

    #[test]
    fn deleted_rows_are_a_reason_from_a_fifth_on() {
        let fifth = TARGET / 5 + 1;
        assert_eq!(chosen(&[segment(TARGET, 0), segment(TARGET, fifth)], Effort::Due), [1]);
        assert_eq!(chosen(&[segment(TARGET, fifth / 2 + 1)], Effort::Due), [] as [usize; 0]);
        assert_eq!(chosen(&[segment(TARGET, fifth / 2 + 1)], Effort::Idle), [0]);
        let empty = [segment(TARGET, fifth), segment(TARGET, TARGET)];
        assert_eq!(chosen(&empty, Effort::Due), [1], "what costs nothing comes first");
        // Half-deleted ones are merged, up to the bound of a job.
        let half = vec![segment(TARGET, TARGET / 2); 10];
        assert_eq!(chosen(&half, Effort::Due).len(), 8);
    }

    #[test]
    fn overlap_is_reduced_where_it_is_deep_and_not_for_one_shared_value() {
        let mut deep = vec![over(0, 100); 9];
        deep.push(over(101, 200));
        assert_eq!(chosen(&deep, Effort::Due).len(), 4);
        assert_eq!(chosen(&deep[1..], Effort::Due), [] as [usize; 0]);
        assert_eq!(chosen(&vec![over(7, 7); 20], Effort::Due), [] as [usize; 0], "they cannot be set apart");
    }

    /// Flush after flush, every row is written anew a few times only, and few small segments are ever there.
    #[test]
    fn merging_pays_for_itself() {
        let (mut segments, mut flushed, mut written, mut most) = (Vec::new(), 0u64, 0u64, 0);
        for _ in 0..800 {
            segments.push(segment(TARGET / 8, 0));
            flushed += TARGET / 8;
            while let Some(job) = choose(&segments, TARGET, 4 * TARGET, Effort::Idle) {
                let live: u64 = job.inputs.iter().map(|index| segments[*index].live()).sum();
                written += live;
                job.inputs.iter().rev().for_each(|index| {
                    segments.remove(*index);
                });
                let count = live.div_ceil(TARGET);
                segments.extend((0..count).map(|_| segment(live / count, 0)));
            }
            most = most.max(segments.iter().filter(|s| s.rows < TARGET / 2).count());
        }
        assert!(written <= 4 * flushed, "{written} written for {flushed}");
        assert!(most <= 4, "{most}");
    }

    #[test]
    fn a_whole_compaction_leaves_nothing_to_do() {
        let segments = [segment(TARGET, 0), segment(TARGET, 1), segment(10, 0), segment(TARGET / 2, 0)];
        assert_eq!(choose_all(&segments, TARGET, 8 * TARGET, false), [vec![1, 2, 3]]);
        assert_eq!(choose_all(&segments, TARGET, 8 * TARGET, true), [vec![1]]);
        assert_eq!(choose_all(&segments[2..3], TARGET, 8 * TARGET, false), [] as [Vec<usize>; 0]);
        let halves = [segment(TARGET * 3 / 5, 0), segment(TARGET * 3 / 5, 0)];
        assert_eq!(choose_all(&halves, TARGET, 8 * TARGET, false), [] as [Vec<usize>; 0], "they would stay two");
        assert_eq!(choose_all(&[over(0, 9), over(5, 20), over(20, 30)], TARGET, 8 * TARGET, false), [vec![0, 1]]);
    }
}
