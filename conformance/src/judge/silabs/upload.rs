//! The uploads of a run: from 0x00, or from data without one, to the next 0x00 or the end of the connection.

use brickproof_simulator::trace::EndedBy;

use super::files::{Offered, offered};
use super::view::{Connection, Deed, Peer, To, View, Write};
use crate::judge::view::Place;
use crate::scenario::ImageSet;

/// Control bytes.
pub(super) const START: u8 = 0x00;
pub(super) const FINISH: u8 = 0x03;

/// How an upload relates to the file that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// What was sent is what the file has, as far as it goes.
    Same,
    /// From this byte on it is not: the write with that byte.
    Differs { offset: usize, at: Place },
    /// It cannot be told.
    Unknown,
}

/// An upload.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) connection: &'a Connection,
    /// 0x00, where it was written.
    pub(super) start: Option<&'a Write>,
    /// Data before 0x03.
    pub(super) data: Vec<&'a Write>,
    /// 0x03, the first time.
    pub(super) finish: Option<&'a Write>,
    /// Data behind 0x03.
    pub(super) behind: Vec<&'a Write>,
    /// What was sent before 0x03.
    pub(super) sent: Vec<u8>,
    /// The file that it is of, by its first bytes.
    pub(super) file: Option<usize>,
    pub(super) stream: Stream,
    /// A value was refused or not answered: it is in order to break it off.
    pub(super) is_troubled: bool,
}

impl<'a> Upload<'a> {
    fn new(connection: &'a Connection, start: Option<&'a Write>) -> Self {
        Self {
            connection,
            start,
            data: Vec::new(),
            finish: None,
            behind: Vec::new(),
            sent: Vec::new(),
            file: None,
            stream: Stream::Unknown,
            is_troubled: false,
        }
    }

    /// The file was taken, as far as 0x03 tells: the answer to it.
    pub(super) fn taken(&self) -> Option<Place> {
        self.finish.and_then(Write::taken)
    }

    /// Where it begins.
    pub(super) fn begun(&self) -> Place {
        self.start.or(self.data.first().copied()).map_or(self.connection.begun, |write| write.at)
    }

    fn compare(&mut self, files: &[Offered<'_>]) {
        // Behind a value that was refused nothing is where it belongs.
        let refused = self.data.iter().position(|write| write.refused().is_some());
        let data = &self.data[..refused.unwrap_or(self.data.len())];
        if data.iter().any(|write| write.len != write.value.len()) {
            return;
        }
        let mut places = Vec::new();
        for write in data {
            places.push((self.sent.len(), write.at));
            self.sent.extend_from_slice(&write.value);
        }
        if self.sent.is_empty() {
            return;
        }
        let same = |file: &Offered<'_>| file.bytes.iter().zip(&self.sent).take_while(|(of, sent)| of == sent).count();
        let best =
            files.iter().enumerate().map(|(n, file)| (same(file), n)).max_by_key(|(same, n)| (*same, usize::MAX - n));
        let Some((offset, number)) = best else { return };
        self.file = Some(number);
        let len = files.get(number).map_or(0, |file| file.bytes.len());
        self.stream = if offset >= self.sent.len().min(len) {
            Stream::Same
        } else {
            let at = places.iter().rev().find(|(from, _)| *from <= offset).map_or(self.connection.begun, |(_, at)| *at);
            Stream::Differs { offset, at }
        };
    }
}

/// A run: its connections, its uploads, its files.
pub(super) struct Run<'a> {
    pub(super) view: &'a View,
    pub(super) uploads: Vec<Upload<'a>>,
    pub(super) files: Vec<Offered<'a>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(view: &'a View, images: &'a ImageSet) -> Self {
        let files = offered(images);
        let takers = view.connections.iter().filter(|connection| takes_files(view, connection));
        let mut uploads: Vec<Upload<'a>> = takers.flat_map(uploads_of).collect();
        for upload in &mut uploads {
            upload.compare(&files);
        }
        Self { view, uploads, files }
    }

    /// Whether what was connected to takes files: an AppLoader, or an application with a slot.
    pub(super) fn takes_files(&self, connection: &Connection) -> bool {
        takes_files(self.view, connection)
    }

    /// Whether it is an application with a slot.
    pub(super) fn is_slot(&self, connection: &Connection) -> bool {
        connection.peer == Peer::Application && self.view.has_slot
    }

    /// Whether it is an application in front of an AppLoader.
    pub(super) fn is_in_place(&self, connection: &Connection) -> bool {
        connection.peer == Peer::Application && !self.view.has_slot
    }

    /// The file that an upload is of.
    pub(super) fn file_of(&self, upload: &Upload<'_>) -> Option<&Offered<'a>> {
        self.files.get(upload.file?)
    }

    /// When the initiator leaves a connection by itself: it ends it, or is done while it is there.
    pub(super) fn left(&self, connection: &Connection) -> Option<Place> {
        let said = self.view.said.map(|said| said.at);
        match connection.ended {
            Some((at, by)) => {
                let done = said.filter(|said| said.n < at.n && said.n > connection.begun.n);
                done.or((by == EndedBy::Central).then_some(at))
            }
            None => said.filter(|said| said.n > connection.begun.n),
        }
    }

    /// Whether the scenario did something in between, or power or the link was lost.
    pub(super) fn is_disturbed(&self, from: Place, to: Place) -> bool {
        self.view.disturbances.iter().any(|at| (from.n..=to.n).contains(&at.n))
    }

    /// Whether power or the link was lost in between.
    pub(super) fn is_cut(&self, from: Place, to: Place) -> bool {
        self.view.outages.iter().any(|at| (from.n..=to.n).contains(&at.n))
    }
}

fn takes_files(view: &View, connection: &Connection) -> bool {
    match connection.peer {
        Peer::AppLoader => true,
        Peer::Application => view.has_slot,
        Peer::Unknown => false,
    }
}

fn uploads_of(connection: &Connection) -> Vec<Upload<'_>> {
    let mut all: Vec<Upload<'_>> = Vec::new();
    for (_, deed) in &connection.deeds {
        let Deed::Write(write) = deed else { continue };
        if write.says(START) {
            all.push(Upload::new(connection, Some(write)));
            continue;
        }
        if write.to == To::Data && all.is_empty() {
            all.push(Upload::new(connection, None));
        }
        let Some(upload) = all.last_mut() else { continue };
        match write.to {
            To::Data if upload.finish.is_none() => {
                upload.is_troubled |= write.refused().is_some() || write.is_unanswered();
                upload.data.push(write);
            }
            To::Data => upload.behind.push(write),
            To::Control if write.says(FINISH) => {
                upload.finish.get_or_insert(write);
            }
            To::Control | To::Other => {}
        }
    }
    all
}
