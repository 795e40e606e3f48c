//! What is open within one pair of brackets, or one CASE.

/// Precedence of what is no operator's result.
const NO_PRECEDENCE: u8 = u8::MAX;

/// What opened a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Bracket,
    Case,
}

/// A subtree: how deep it is, and how long the chain of equal operators at its top.
#[derive(Debug, Clone, Copy)]
struct Subtree {
    depth: usize,
    run: usize,
    precedence: u8,
}

impl Subtree {
    const LEAF: Self = Self { depth: 0, run: 0, precedence: NO_PRECEDENCE };
}

/// An operator whose right side is not complete.
#[derive(Debug, Clone, Copy)]
struct OpenOperator {
    precedence: u8,
    left_depth: usize,
    run: usize,
    prefix: bool,
}

/// The state of one level.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) place: Place,
    /// Whether the next operator has a left side.
    pub(super) has_operand: bool,
    /// BETWEENs whose AND has not come.
    pub(super) betweens: usize,
    /// Commas so far, in a select list or a row of VALUES.
    pub(super) list: Option<usize>,
    /// Whether brackets after commas are rows of VALUES.
    pub(super) rows: bool,
    /// Whether commas join tables.
    pub(super) in_from: bool,
    pub(super) set_operations: usize,
    pub(super) joins: usize,
    /// How often a bracket opened here where one had just closed: `[1][1][1]` nests types and accesses.
    pub(super) bracket_chain: usize,
    operators: Vec<OpenOperator>,
    operand: Subtree,
    deepest: usize,
}

impl Frame {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            has_operand: false,
            betweens: 0,
            list: None,
            rows: false,
            in_from: false,
            set_operations: 0,
            joins: 0,
            bracket_chain: 0,
            operators: Vec::new(),
            operand: Subtree::LEAF,
            deepest: 0,
        }
    }

    /// Depth of what is complete.
    pub(super) fn depth(&self) -> usize {
        self.deepest.max(self.operand.depth) + self.set_operations + self.joins
    }

    pub(super) fn open_operators(&self) -> usize {
        self.operators.len()
    }

    /// A binary operator; answers how many of its precedence stand in a chain now.
    pub(super) fn push_operator(&mut self, precedence: u8) -> usize {
        while self.operators.last().is_some_and(|open| open.precedence >= precedence) {
            self.reduce();
        }
        let left = self.operand;
        let run = if left.precedence == precedence { left.run + 1 } else { 1 };
        self.operators.push(OpenOperator { precedence, left_depth: left.depth, run, prefix: false });
        self.operand = Subtree::LEAF;
        self.has_operand = false;
        run
    }

    /// An operator without a left side; answers how many stand in a row now.
    pub(super) fn push_prefix(&mut self, precedence: u8) -> usize {
        let run = self.operators.last().filter(|open| open.prefix).map_or(0, |open| open.run) + 1;
        self.operators.push(OpenOperator { precedence, left_depth: 0, run, prefix: true });
        run
    }

    /// Something in brackets: an operand, or what belongs to the one before it.
    pub(super) fn take_operand(&mut self, depth: usize) {
        if self.has_operand {
            self.operand.depth = self.operand.depth.max(depth);
        } else {
            self.operand = Subtree { depth, ..Subtree::LEAF };
        }
        self.has_operand = true;
    }

    pub(super) fn finish_expression(&mut self) {
        while !self.operators.is_empty() {
            self.reduce();
        }
        self.deepest = self.deepest.max(self.operand.depth);
        self.operand = Subtree::LEAF;
        self.has_operand = false;
        self.betweens = 0;
    }

    fn reduce(&mut self) {
        let Some(open) = self.operators.pop() else { return };
        self.operand = Subtree {
            depth: open.left_depth.max(self.operand.depth) + 1,
            run: open.run,
            precedence: if open.prefix { NO_PRECEDENCE } else { open.precedence },
        };
    }
}
