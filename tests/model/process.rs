//! The process of the gateway: it stops, it starts, it dials.

use super::gateway::{Gateway, Plan};
use super::history::What;
use super::instance::Qr;
use super::line::Line;

/// How the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It listens.
    Up,
    /// It starts and does not listen yet (I1: 2.5 s).
    Starting,
    /// It is down until somebody starts it.
    Down,
}

impl Gateway {
    /// How the process is.
    pub fn process(&self) -> Process {
        self.process
    }

    /// The process stops: memory, dials and the webhooks that wait for another try are lost.
    pub(super) fn stop_process(&mut self, to: Process) {
        if self.process == Process::Up {
            for id in self.live_ids() {
                self.set_line(id, Line::Cut);
                let instance = &mut self.instances[id];
                (instance.loaded, instance.doubled) = (false, false);
                (instance.sender, instance.mute) = (false, false);
                instance.qr = Qr::default();
            }
            self.outbox.forget();
        }
        self.become_process(to);
    }

    /// The process starts; it dials everything in some seconds (I1).
    pub(super) fn start_process(&mut self) {
        self.become_process(Process::Starting);
        let ms = self.rng.between(2_000, 3_000);
        self.plan_in(ms, Plan::ProcessUp);
    }

    /// It listens, and dials every row by itself, the unpaired ones too (C1, I1). Without its
    /// database it does not start at all: whoever started it tries again.
    pub(super) fn process_up(&mut self) {
        if self.process != Process::Starting {
            return;
        }
        if !self.database {
            self.plan_in(5_000, Plan::ProcessUp);
            return;
        }
        self.become_process(Process::Up);
        for id in self.live_ids() {
            let instance = &mut self.instances[id];
            if std::mem::take(&mut instance.boot_throws) {
                instance.loaded = true;
            } else if instance.integration == "WHATSAPP-BAILEYS" {
                self.dial(id);
            } else {
                instance.loaded = true;
            }
        }
    }

    fn become_process(&mut self, to: Process) {
        if self.process != to {
            self.process = to;
            self.happened(None, What::Process(to));
        }
    }
}
