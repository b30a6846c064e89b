//! Postings against the evaluator of filters, and both against a naive one; and postings that nobody wrote.

mod agree;
mod hostile;
mod limits;

use super::super::filter::Filter;
use super::Postings;
use crate::error::Error;
use serde_json::{Value, json};
use std::path::Path;

fn texts(documents: &[Value]) -> Vec<Vec<u8>> {
    documents.iter().map(|document| document.to_string().into_bytes()).collect()
}

fn build(texts: &[Vec<u8>]) -> Postings {
    Postings::build(texts.len(), |i| &texts[i]).expect("postings")
}

fn filter(json: &Value) -> Filter {
    Filter::parse(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// The slots that match, once somebody has looked at the candidates; how many of these there were.
fn solve(postings: &Postings, texts: &[Vec<u8>], filter: &Filter) -> (Vec<u32>, u64) {
    let verdict = postings.matches(filter);
    let candidates = verdict.candidates.len();
    let slots = verdict.resolve(|slot| filter.matches_text(&texts[slot as usize]));
    (slots.iter().collect(), candidates)
}

/// What looking at every row gives.
fn evaluate(texts: &[Vec<u8>], filter: &Filter) -> Vec<u32> {
    (0..texts.len() as u32).filter(|&slot| filter.matches_text(&texts[slot as usize])).collect()
}
