//! Made-up words of syllables, some in Cyrillic, so that text has the bytes per character that the web has.

use rand::Rng;
use rand::rngs::SmallRng;

const SYLLABLES: [&str; 40] = [
    "за", "пи", "но", "ка", "ре", "ту", "ли", "са", "ве", "мо", "де", "ро", "бу", "хо", "ни", "ти", "ла", "ше", "го",
    "ра", "ma", "re", "ne", "to", "sa", "le", "on", "in", "pro", "foto", "auto", "game", "film", "news", "bank",
    "book", "tur", "mebel", "dom", "shop",
];

/// Texts of `count` words each, `separator` between them; a word has three syllables.
pub(super) fn texts(
    random: &mut SmallRng,
    texts: usize,
    count: std::ops::Range<usize>,
    separator: &str,
) -> Vec<String> {
    (0..texts).map(|_| text(random, count.clone(), separator)).collect()
}

/// One text.
pub(super) fn text(random: &mut SmallRng, count: std::ops::Range<usize>, separator: &str) -> String {
    let mut out = String::with_capacity(32);
    for word in 0..random.random_range(count) {
        if word > 0 {
            out.push_str(separator);
        }
        for _ in 0..3 {
            out.push_str(SYLLABLES[random.random_range(0..SYLLABLES.len())]);
        }
    }
    out
}
