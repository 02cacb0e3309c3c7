//! What the tests ask: is a model safe, and is a safeguard's absence noticed.

use std::fmt::Write as _;
use std::time::Instant;

use crate::explore::{Model, Outcome, Property, explore};

/// More states than this are too many for a test of every commit.
const STATES_MAX: usize = 6_000_000;
/// The same for the wide bounds.
const STATES_MAX_FULL: usize = 120_000_000;

/// Whether the wide bounds were asked for (`MARRAM_MODELS=full`): minutes instead of seconds.
#[must_use]
pub fn full() -> bool {
    std::env::var("MARRAM_MODELS").is_ok_and(|value| value == "full")
}

/// Every state keeps every property, and everything that should be reachable is.
///
/// # Errors
/// The property and a shortest history that breaks it, or what was never reached.
pub fn safe<M: Model>(name: &str, model: &M, goals: &[&str]) -> Result<usize, String> {
    let began = Instant::now();
    let found = run(model, &model.always())?;
    println!(
        "{name}: {} states, depth {}, {:.1} s; reached {:?}",
        found.states,
        found.depth,
        began.elapsed().as_secs_f32(),
        found.reached
    );
    if let Some(broken) = found.violation {
        return Err(told(name, broken.property, &broken.history));
    }
    let missed: Vec<&&str> = goals
        .iter()
        .filter(|goal| !found.reached.contains(**goal))
        .collect();
    if !missed.is_empty() {
        return Err(format!("{name}: never reached {missed:?}"));
    }
    Ok(found.states)
}

/// Some history breaks the property of that name (others are not looked at). Answers the number
/// of steps of a shortest one.
///
/// # Errors
/// What was found instead.
pub fn caught<M: Model>(name: &str, model: &M, property: &str) -> Result<usize, String> {
    let began = Instant::now();
    let mut always = model.always();
    always.retain(|candidate| candidate.name.starts_with(property));
    if always.len() != 1 {
        return Err(format!(
            "{name}: no property, or more than one, begins with \"{property}\""
        ));
    }
    let found = run(model, &always)?;
    let Some(broken) = found.violation else {
        let states = found.states;
        return Err(format!("{name}: nothing noticed in {states} states"));
    };
    let told = told(name, broken.property, &broken.history);
    println!("{told}  ({:.1} s)", began.elapsed().as_secs_f32());
    Ok(broken.history.len())
}

fn run<M: Model>(model: &M, always: &[Property<M>]) -> Result<Outcome<M::Action>, String> {
    let states_max = if full() { STATES_MAX_FULL } else { STATES_MAX };
    explore(model, always, states_max).ok_or_else(|| format!("more than {states_max} states"))
}

/// A history as text, one step a line.
fn told<A: std::fmt::Debug>(name: &str, property: &str, history: &[A]) -> String {
    let mut text = format!(
        "{name}: \"{property}\" is broken after {} steps:",
        history.len()
    );
    for (number, action) in (1..).zip(history) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {number:2} {action:?}");
    }
    text
}
