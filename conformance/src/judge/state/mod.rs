//! Listing, testing, confirming and noticing what became of it.
//!
//! | module | requirements |
//! |---|---|
//! | `before` | STA-01, STA-09, STA-10, STA-13: what the device has before the upload, and lists of every form |
//! | `mark` | STA-02, STA-03, STA-04, STA-05, STA-06: marking for test or for good |
//! | `after` | STA-07, STA-08: which image came back |
//! | `several` | STA-11: several images in one update |
//! | `mode` | STA-12: bootloaders that choose by version |

mod after;
mod before;
mod mark;
mod mode;
mod several;

use super::Check;

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("STA-01", before::looks_before_uploading),
    ("STA-02", mark::hash_is_from_the_image),
    ("STA-03", mark::marked_before_reset),
    ("STA-04", mark::refused_mark_is_reported),
    ("STA-05", mark::mark_is_verified),
    ("STA-06", mark::tests_before_confirming),
    ("STA-07", after::confirms_what_runs),
    ("STA-08", after::reports_a_revert),
    ("STA-09", before::clears_the_way),
    ("STA-10", before::reads_any_list),
    ("STA-11", several::all_before_one_reset),
    ("STA-12", mode::suits_the_slots),
    ("STA-13", before::honours_no_downgrade),
];
