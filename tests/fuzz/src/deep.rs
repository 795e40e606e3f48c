//! One thread that lives as long as the fuzzer, with the stack that callers of the parser have.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};

/// What `kalamdb_sql::statements` asks for.
const STACK_BYTES: usize = 16 << 20;

type Job = (fn(&str), String);

static WORKER: LazyLock<Mutex<(SyncSender<Job>, Receiver<()>)>> = LazyLock::new(|| {
    let (send_job, jobs) = sync_channel::<Job>(0);
    let (send_done, done) = sync_channel(0);
    let work = move || {
        for (run, text) in jobs {
            run(&text);
            if send_done.send(()).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");
    Mutex::new((send_job, done))
});

/// Runs a check on that thread. A panic in it ends the process, as libFuzzer's hook has it.
pub fn on_deep_stack(text: String, check: fn(&str)) {
    let worker = WORKER.lock().unwrap_or_else(PoisonError::into_inner);
    worker.0.send((check, text)).expect("the worker lives");
    worker.1.recv().expect("the worker lives");
}
