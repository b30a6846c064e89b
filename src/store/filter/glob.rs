//! Patterns for text: `*` is any text, `?` one character, `[a-z]` one of these, `[!a-z]` one of no others; `[*]` is a star.
//!
//! Matching goes back to the last star only, so its time is at most the product of both lengths.

/// A pattern.
#[derive(Clone, Debug)]
pub(in super::super) struct Glob {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Star,
    Any,
    One(char),
    /// Ranges of characters; whether one of them is wanted, or none.
    Class(Vec<(char, char)>, bool),
}

impl Glob {
    /// The pattern in `text`; a message if it is none.
    pub(super) fn parse(text: &str) -> Result<Glob, String> {
        let (mut steps, mut rest) = (Vec::new(), text.chars());
        while let Some(c) = rest.next() {
            match c {
                // Two stars say no more than one.
                '*' if matches!(steps.last(), Some(Step::Star)) => {}
                '*' => steps.push(Step::Star),
                '?' => steps.push(Step::Any),
                '[' => steps.push(class(&mut rest)?),
                _ => steps.push(Step::One(c)),
            }
        }
        Ok(Glob { steps })
    }

    /// What every text that fits begins with.
    pub(in super::super) fn prefix(&self) -> String {
        let literal = |step: &Step| if let Step::One(c) = step { Some(*c) } else { None };
        self.steps.iter().map_while(literal).collect()
    }

    /// Whether all of `text` fits.
    pub(in super::super) fn matches(&self, text: &str) -> bool {
        let (mut step, mut rest) = (0, text);
        // Behind the last star: which step, and what text it has not swallowed yet.
        let mut star: Option<(usize, &str)> = None;
        loop {
            let mut next = rest.chars();
            match (self.steps.get(step), next.next()) {
                (Some(Step::Star), _) => {
                    star = Some((step + 1, rest));
                    step += 1;
                    continue;
                }
                (Some(wanted), Some(c)) if wanted.takes(c) => {
                    step += 1;
                    rest = next.as_str();
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after, swallowed)) = star else { return false };
            let mut left = swallowed.chars();
            if left.next().is_none() {
                return false;
            }
            star = Some((after, left.as_str()));
            (step, rest) = (after, left.as_str());
        }
    }
}

impl Step {
    fn takes(&self, c: char) -> bool {
        match self {
            Step::Star => false,
            Step::Any => true,
            Step::One(wanted) => *wanted == c,
            Step::Class(ranges, wanted) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) == *wanted,
        }
    }
}

/// What follows a `[`.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Step, String> {
    let unclosed = || "'[' is never closed; write '[[]' for the character".to_owned();
    let wanted = !rest.as_str().starts_with('!');
    if !wanted {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = rest.next().ok_or_else(unclosed)?;
        // A bracket that closes nothing is itself.
        if low == ']' && !ranges.is_empty() {
            return Ok(Step::Class(ranges, wanted));
        }
        let mut ahead = rest.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *rest = ahead;
                high
            }
            _ => low,
        };
        if low > high {
            return Err(format!("the range {low}-{high} is empty"));
        }
        ranges.push((low, high));
    }
}
