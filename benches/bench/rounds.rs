//! Comparisons in rounds: what is compared takes turns, so that a change of the machine's speed meets all of it alike.

/// Measures each variant once a round; every second round runs backwards. The figures of each variant, by round.
pub(crate) async fn in_turn<V, T>(
    rounds: usize,
    variants: &mut [V],
    mut measure: impl AsyncFnMut(&mut V) -> T,
) -> Vec<Vec<T>> {
    let mut figures: Vec<Vec<T>> = variants.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for place in 0..variants.len() {
            let place = if round % 2 == 0 {
                place
            } else {
                variants.len() - 1 - place
            };
            figures[place].push(measure(&mut variants[place]).await);
        }
    }
    figures
}

/// The median; of an even number the higher of the middle two. Not of nothing.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The mean, for what is counted in steps that are larger than one measurement. Not of nothing.
pub(crate) fn mean(figures: impl IntoIterator<Item = f64>) -> f64 {
    let figures: Vec<f64> = figures.into_iter().collect();
    figures.iter().sum::<f64>() / f64::from(u32::try_from(figures.len()).expect("a count of rounds"))
}

/// The median of the ratios that two variants have in each round: the machine is as busy for both.
pub(crate) fn ratio<T>(one: &[T], other: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    median(one.iter().zip(other).map(|(a, b)| figure(a) / figure(b)))
}
