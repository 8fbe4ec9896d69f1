//! What the images with one thing wrong have in common.

/// The one of `all` that has this name.
///
/// # Errors
/// That none has, and what there is.
pub(super) fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    all.iter().copied().find(|sabotage| name(*sabotage) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().copied().map(name).collect();
        format!("nothing to break is called `{text}`: one of {}", names.join(", "))
    })
}
