//! What the threads do.

use super::super::config::Task;
use super::super::dispatch::Exchange;
use super::super::server::{Environment, Server};
use super::Result;

/// One map for each thread under its name; the body is not looked at.
pub(super) fn read(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    let Some(statistics) = &server.config.task_statistics else { return Ok(()) };
    let map = exchange.map.text("tasks").begin_map();
    for (number, task) in statistics.tasks.iter().enumerate() {
        let name = task.name.as_bytes();
        map.raw_text(&name[..name.len().min(Task::NAME_MAX)]).begin_map();
        map.text("prio").signed(task.priority.into());
        map.text("tid").unsigned(number as u64).text("state").unsigned(task.state.into());
        if let Some((size, used)) = task.stack {
            map.text("stksiz").unsigned(size).text("stkuse").unsigned(used);
        }
        if let Some(runtime) = task.runtime.or((!statistics.only_supported).then_some(0)) {
            map.text("runtime").unsigned(runtime);
        }
        if !statistics.only_supported {
            map.text("cswcnt").unsigned(0).text("last_checkin").unsigned(0).text("next_checkin").unsigned(0);
        }
        map.end();
    }
    map.end();
    Ok(())
}
