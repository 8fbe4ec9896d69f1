//! The LZMA decoder of the bootloader, as far as it can be seen: when it takes bytes, when it gives some, and what it does with
//! bytes that are wrong (simplicity sdk: `LzmaDec.c`, which is of the 7-Zip LZMA SDK; LZMA itself: its specification).

use super::super::Code;

/// Largest dictionary, in bytes (`LZMA_DICT_SIZE_KB`).
const DICTIONARY_MAX: u32 = 8 << 10;
/// Bytes for the probabilities (`LZMA_COUNTER_SIZE_KB`).
const COUNTERS_MAX: usize = 10 << 10;
/// Most bytes that one symbol takes (`LZMA_REQUIRED_INPUT_MAX`).
const SYMBOL_MAX: usize = 20;
/// Bytes that begin the range coder (`RC_INIT_SIZE`).
const START_LEN: usize = 5;

/// Probabilities without those of literals (`LZMA_BASE_SIZE`).
const BASE_PROBABILITIES: usize = 1846;
const STATES: usize = 12;
const LITERAL_STATES: usize = 7;
const POS_STATES_MAX: usize = 16;
const LEN_TO_POS_STATES: usize = 4;
const ALIGN_BITS: u32 = 4;
const END_POS_MODEL: u32 = 14;
const FULL_DISTANCES: usize = 1 << (END_POS_MODEL / 2);
const MATCH_MIN: usize = 2;
const HALF: u16 = 1 << 10;
const TOP: u32 = 1 << 24;

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// No room is left for what comes out.
    Full,
    /// The symbol that comes next is not whole.
    NeedsInput,
    /// No room is left, and nothing seems to follow.
    MaybeFinished,
    /// The end marker has been read.
    Finished,
}

/// There is no more input.
struct Short;

/// What stops a symbol.
enum Trouble {
    Short,
    Wrong,
}

impl From<Short> for Trouble {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

#[derive(Debug, Clone)]
struct Lengths {
    choice: [u16; 2],
    low: [[u16; 8]; POS_STATES_MAX],
    middle: [[u16; 8]; POS_STATES_MAX],
    high: [u16; 256],
}

impl Lengths {
    fn new() -> Self {
        Self {
            choice: [HALF; 2],
            low: [[HALF; 8]; POS_STATES_MAX],
            middle: [[HALF; 8]; POS_STATES_MAX],
            high: [HALF; 256],
        }
    }
}

#[derive(Debug, Clone)]
struct Probabilities {
    literal: Vec<u16>,
    is_match: [[u16; POS_STATES_MAX]; STATES],
    is_rep: [u16; STATES],
    is_rep_0: [u16; STATES],
    is_rep_1: [u16; STATES],
    is_rep_2: [u16; STATES],
    is_rep_0_long: [[u16; POS_STATES_MAX]; STATES],
    pos_slot: [[u16; 64]; LEN_TO_POS_STATES],
    special: [u16; FULL_DISTANCES],
    align: [u16; 1 << ALIGN_BITS],
    len: Lengths,
    rep_len: Lengths,
}

/// The range coder, and where it reads.
struct Coder<'i> {
    range: u32,
    code: u32,
    input: &'i [u8],
}

impl Coder<'_> {
    fn normalize(&mut self) -> Result<(), Short> {
        if self.range < TOP {
            let (first, rest) = self.input.split_first().ok_or(Short)?;
            self.input = rest;
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(*first);
        }
        Ok(())
    }

    fn bit(&mut self, probability: &mut u16) -> Result<bool, Short> {
        self.normalize()?;
        let bound = (self.range >> 11) * u32::from(*probability);
        if self.code < bound {
            self.range = bound;
            *probability += ((1 << 11) - *probability) >> 5;
            Ok(false)
        } else {
            self.range -= bound;
            self.code -= bound;
            *probability -= *probability >> 5;
            Ok(true)
        }
    }

    /// A number of which the highest bit comes first; `probabilities` has one for each prefix.
    fn tree(&mut self, probabilities: &mut [u16]) -> Result<usize, Short> {
        let mut at = 1;
        while let Some(probability) = probabilities.get_mut(at) {
            at = at << 1 | usize::from(self.bit(probability)?);
        }
        Ok(at - probabilities.len())
    }

    /// A number of which the lowest bit comes first.
    fn reverse_tree(&mut self, probabilities: &mut [u16], bits: u32) -> Result<u32, Short> {
        let (mut at, mut number) = (1usize, 0);
        for bit in 0..bits {
            let one = match probabilities.get_mut(at) {
                Some(probability) => self.bit(probability)?,
                None => false,
            };
            at = at << 1 | usize::from(one);
            number |= u32::from(one) << bit;
        }
        Ok(number)
    }

    fn direct(&mut self, bits: u32) -> Result<u32, Short> {
        let mut number = 0;
        for _ in 0..bits {
            self.normalize()?;
            self.range >>= 1;
            let one = self.code >= self.range;
            if one {
                self.code -= self.range;
            }
            number = number << 1 | u32::from(one);
        }
        Ok(number)
    }

    fn length(&mut self, lengths: &mut Lengths, pos_state: usize) -> Result<usize, Short> {
        let [choice, choice_2] = &mut lengths.choice;
        let (low, middle) = (&mut lengths.low, &mut lengths.middle);
        if !self.bit(choice)? {
            return low.get_mut(pos_state).map_or(Ok(0), |tree| self.tree(tree));
        }
        if !self.bit(choice_2)? {
            return Ok(8 + middle.get_mut(pos_state).map_or(Ok(0), |tree| self.tree(tree))?);
        }
        Ok(16 + self.tree(&mut lengths.high)?)
    }
}

/// What a symbol says.
enum Symbol {
    Literal(u8),
    /// Bytes to repeat.
    Match(usize),
    End,
}

/// A decoder in the middle of a stream.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    lc: u32,
    lp: u32,
    pb: u32,
    dictionary: u32,
    /// The last bytes that came out, for repeats.
    window: Vec<u8>,
    /// How many came out in all.
    position: u32,
    probabilities: Probabilities,
    state: usize,
    reps: [u32; 4],
    range: u32,
    code: u32,
    started: bool,
    /// Bytes of a match for which there was no room.
    remaining: usize,
    finished: bool,
    /// Bytes of a symbol that is not whole.
    held: Vec<u8>,
}

impl Decoder {
    /// A decoder for a stream with these properties: lc, lp and pb in one byte, and the size of the dictionary.
    ///
    /// # Errors
    /// [`Code::CompressionMemory`] when they are wrong or need more memory than there is.
    pub(super) fn new(properties: [u8; START_LEN]) -> Result<Self, Code> {
        let [first, d0, d1, d2, d3] = properties;
        if first >= 9 * 5 * 5 {
            return Err(Code::CompressionMemory);
        }
        let (lc, lp, pb) = (u32::from(first % 9), u32::from(first / 9 % 5), u32::from(first / 45));
        let literals = 0x300usize << (lc + lp);
        // Two bytes for each probability (`LzmaProps_GetNumProbs`).
        if (BASE_PROBABILITIES + literals) * 2 > COUNTERS_MAX {
            return Err(Code::CompressionMemory);
        }
        let dictionary = u32::from_le_bytes([d0, d1, d2, d3]).max(1 << 12);
        if dictionary > DICTIONARY_MAX {
            return Err(Code::CompressionMemory);
        }
        let probabilities = Probabilities {
            literal: vec![HALF; literals],
            is_match: [[HALF; POS_STATES_MAX]; STATES],
            is_rep: [HALF; STATES],
            is_rep_0: [HALF; STATES],
            is_rep_1: [HALF; STATES],
            is_rep_2: [HALF; STATES],
            is_rep_0_long: [[HALF; POS_STATES_MAX]; STATES],
            pos_slot: [[HALF; 64]; LEN_TO_POS_STATES],
            special: [HALF; FULL_DISTANCES],
            align: [HALF; 1 << ALIGN_BITS],
            len: Lengths::new(),
            rep_len: Lengths::new(),
        };
        Ok(Self {
            lc,
            lp,
            pb,
            dictionary,
            window: Vec::new(),
            position: 0,
            probabilities,
            state: 0,
            reps: [1; 4],
            range: u32::MAX,
            code: 0,
            started: false,
            remaining: 0,
            finished: false,
            held: Vec::new(),
        })
    }

    /// Decodes `input`, of which it leaves what lies behind the end marker or has no room (`LzmaDec_DecodeToBuf`,
    /// `LZMA_FINISH_ANY`). At most `room` bytes come out.
    ///
    /// # Errors
    /// [`Code::CompressionData`]: what has come out of this call is lost.
    pub(super) fn decode(&mut self, input: &mut Vec<u8>, room: usize, out: &mut Vec<u8>) -> Result<Status, Code> {
        let limit = out.len() + room;
        self.held.append(input);
        let status = self.run(limit, out);
        if !matches!(status, Ok(Status::NeedsInput)) {
            *input = std::mem::take(&mut self.held);
        }
        status
    }

    fn run(&mut self, limit: usize, out: &mut Vec<u8>) -> Result<Status, Code> {
        self.repeat(limit, out);
        loop {
            if self.finished {
                return if self.code == 0 { Ok(Status::Finished) } else { Err(Code::CompressionData) };
            }
            if !self.started {
                let Some(start) = self.held.first_chunk::<START_LEN>() else { return Ok(Status::NeedsInput) };
                let [first, code @ ..] = *start;
                if first != 0 {
                    return Err(Code::CompressionData);
                }
                self.code = u32::from_be_bytes(code);
                self.started = true;
                self.held.drain(..START_LEN);
            }
            if out.len() >= limit {
                let maybe = self.remaining == 0 && self.code == 0;
                return Ok(if maybe { Status::MaybeFinished } else { Status::Full });
            }
            if !self.some_symbols(limit, out)? {
                return Ok(Status::NeedsInput);
            }
        }
    }

    /// Decodes as many symbols as there is room and input for; false if not one is whole.
    fn some_symbols(&mut self, limit: usize, out: &mut Vec<u8>) -> Result<bool, Code> {
        let held = std::mem::take(&mut self.held);
        let mut coder = Coder { range: self.range, code: self.code, input: &held };
        let mut whole = true;
        while !self.finished && out.len() < limit {
            // Close to the end of the input a symbol is tried first, as in `LzmaDec_TryDummy`.
            if coder.input.len() < SYMBOL_MAX {
                let mut trial = Coder { range: coder.range, code: coder.code, input: coder.input };
                let mut copy = self.clone();
                let tried = match copy.symbol(&mut trial) {
                    // The range coder wants one byte more where the next bit would take it.
                    Ok(_) => trial.normalize().map_err(Trouble::from),
                    Err(trouble) => Err(trouble),
                };
                if matches!(tried, Err(Trouble::Short)) {
                    whole = false;
                    break;
                }
            }
            let symbol = self.symbol(&mut coder);
            let _ = coder.normalize();
            match symbol {
                Ok(Symbol::Literal(byte)) => self.put(byte, out),
                Ok(Symbol::Match(len)) => {
                    self.remaining = len;
                    self.repeat(limit, out);
                }
                Ok(Symbol::End) => self.finished = true,
                Err(_) => return Err(Code::CompressionData),
            }
        }
        (self.range, self.code) = (coder.range, coder.code);
        self.held = coder.input.to_vec();
        Ok(whole)
    }

    fn repeat(&mut self, limit: usize, out: &mut Vec<u8>) {
        while self.remaining > 0 && out.len() < limit {
            self.remaining -= 1;
            let byte = self.back(self.reps[0]);
            self.put(byte, out);
        }
    }

    /// The byte that came out `distance` bytes ago; 0 where there was none, as in fresh memory.
    fn back(&self, distance: u32) -> u8 {
        let distance = usize::try_from(distance).unwrap_or(usize::MAX);
        self.window.len().checked_sub(distance).and_then(|at| self.window.get(at)).copied().unwrap_or(0)
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.window.len() >= 4 * DICTIONARY_MAX as usize {
            self.window.drain(..3 * DICTIONARY_MAX as usize);
        }
        self.window.push(byte);
        self.position = self.position.wrapping_add(1);
        out.push(byte);
    }

    fn symbol(&mut self, coder: &mut Coder<'_>) -> Result<Symbol, Trouble> {
        let pos_state = (self.position & ((1 << self.pb) - 1)) as usize;
        let state = self.state;
        let p = &mut self.probabilities;
        if !coder.bit(&mut p.is_match[state][pos_state])? {
            return Ok(Symbol::Literal(self.literal(coder)?));
        }
        if !coder.bit(&mut p.is_rep[state])? {
            return self.new_match(coder, pos_state);
        }
        if self.position == 0 {
            return Err(Trouble::Wrong);
        }
        let [rep_0, rep_1, rep_2, rep_3] = self.reps;
        if !coder.bit(&mut p.is_rep_0[state])? {
            if !coder.bit(&mut p.is_rep_0_long[state][pos_state])? {
                self.state = if state < LITERAL_STATES { 9 } else { 11 };
                return Ok(Symbol::Match(1));
            }
        } else if !coder.bit(&mut p.is_rep_1[state])? {
            self.reps = [rep_1, rep_0, rep_2, rep_3];
        } else if !coder.bit(&mut p.is_rep_2[state])? {
            self.reps = [rep_2, rep_0, rep_1, rep_3];
        } else {
            self.reps = [rep_3, rep_0, rep_1, rep_2];
        }
        self.state = if state < LITERAL_STATES { 8 } else { 11 };
        Ok(Symbol::Match(MATCH_MIN + coder.length(&mut p.rep_len, pos_state)?))
    }

    fn literal(&mut self, coder: &mut Coder<'_>) -> Result<u8, Trouble> {
        let previous = u32::from(self.back(1));
        let context = ((self.position & ((1 << self.lp) - 1)) << self.lc) + (previous >> (8 - self.lc));
        let base = 0x300 * context as usize;
        let matched = (self.state >= LITERAL_STATES).then(|| usize::from(self.back(self.reps[0])));
        let mut byte = 1usize;
        let mut offset = 0x100;
        let mut matched_byte = matched.unwrap_or(0);
        if matched.is_none() {
            offset = 0;
        }
        while byte < 0x100 {
            matched_byte <<= 1;
            let bit = offset & matched_byte;
            let index = base + offset + bit + byte;
            let one = match self.probabilities.literal.get_mut(index) {
                Some(probability) => coder.bit(probability)?,
                None => false,
            };
            offset &= if one { matched_byte } else { !matched_byte };
            byte = byte << 1 | usize::from(one);
        }
        self.state = match self.state {
            0..4 => 0,
            4..10 => self.state - 3,
            _ => self.state - 6,
        };
        Ok((byte & 0xff) as u8)
    }

    fn new_match(&mut self, coder: &mut Coder<'_>, pos_state: usize) -> Result<Symbol, Trouble> {
        let p = &mut self.probabilities;
        let length = coder.length(&mut p.len, pos_state)?;
        let slots = &mut p.pos_slot[length.min(LEN_TO_POS_STATES - 1)];
        let slot = u32::try_from(coder.tree(slots)?).unwrap_or(0);
        let distance = if slot < 4 {
            slot
        } else {
            let bits = (slot >> 1) - 1;
            let high = (2 | slot & 1) << bits;
            if slot < END_POS_MODEL {
                let from = (high - slot) as usize;
                let special = p.special.get_mut(from..).unwrap_or_default();
                high + coder.reverse_tree(special, bits)?
            } else {
                let high = high.wrapping_add(coder.direct(bits - ALIGN_BITS)? << ALIGN_BITS);
                high.wrapping_add(coder.reverse_tree(&mut p.align, ALIGN_BITS)?)
            }
        };
        let [rep_0, rep_1, rep_2, _] = self.reps;
        self.reps = [distance.wrapping_add(1), rep_0, rep_1, rep_2];
        if distance == u32::MAX {
            return Ok(Symbol::End);
        }
        let known = if self.position >= self.dictionary { self.dictionary } else { self.position };
        if distance >= known {
            return Err(Trouble::Wrong);
        }
        self.state = if self.state < LITERAL_STATES { 7 } else { 10 };
        Ok(Symbol::Match(MATCH_MIN + length))
    }
}
