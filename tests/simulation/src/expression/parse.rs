//! From an expression's text to what it says.

use std::collections::BTreeSet;

use super::{Change, Comparator, Operand, Path, Test};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Alias(String),
    Value(String),
    Sign(&'static str),
}

const SIGNS: [&str; 11] = ["<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "+", "-"];

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let part_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let body = rest.strip_prefix(['#', ':']).unwrap_or(rest);
            let length = body.find(|letter| !part_of_name(letter));
            let length = length.unwrap_or(body.len());
            assert!(length > 0, "{rest:?} is not understood");
            let whole = &rest[..rest.len() - body.len() + length];
            tokens.push(match first {
                '#' => Token::Alias(whole.to_owned()),
                ':' => Token::Value(whole.to_owned()),
                _ => Token::Word(whole.to_owned()),
            });
            rest = &rest[whole.len()..];
        }
        rest = rest.trim_start();
    }
    tokens
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            tokens: tokens(text),
            at: 0,
        }
    }

    fn fail(&self) -> ! {
        panic!("{:?} is not understood at token {}", self.text, self.at)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().cloned();
        self.at += 1;
        token.unwrap_or_else(|| self.fail())
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Sign(it)) if *it == sign);
        self.at += usize::from(there);
        there
    }

    fn needs(&mut self, sign: &str) {
        if !self.takes(sign) {
            self.fail();
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(it)) if it == word)
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let there = self.is_word(word);
        self.at += usize::from(there);
        there
    }

    fn path(&mut self) -> Path {
        match self.next() {
            Token::Word(name) => Path::Name(name),
            Token::Alias(alias) => Path::Alias(alias),
            _ => self.fail(),
        }
    }

    fn operand(&mut self) -> Operand {
        match self.peek() {
            Some(Token::Value(name)) => {
                let name = name.clone();
                self.at += 1;
                Operand::Value(name)
            }
            _ => Operand::Path(self.path()),
        }
    }

    fn any(&mut self) -> Test {
        let mut tests = vec![self.all()];
        while self.takes_word("OR") {
            tests.push(self.all());
        }
        match tests.len() {
            1 => tests.swap_remove(0),
            _ => Test::Or(tests),
        }
    }

    fn all(&mut self) -> Test {
        let mut tests = vec![self.one()];
        while self.takes_word("AND") {
            tests.push(self.one());
        }
        match tests.len() {
            1 => tests.swap_remove(0),
            _ => Test::And(tests),
        }
    }

    fn one(&mut self) -> Test {
        if self.takes_word("NOT") {
            return Test::Not(Box::new(self.one()));
        }
        if self.takes("(") {
            let inner = self.any();
            self.needs(")");
            return inner;
        }
        let called = matches!(self.tokens.get(self.at + 1), Some(Token::Sign("(")));
        if let (Some(Token::Word(function)), true) = (self.peek().cloned(), called) {
            self.at += 2;
            let path = self.path();
            let test = match function.as_str() {
                "attribute_exists" => Test::Exists(path),
                "attribute_not_exists" => Test::NotExists(path),
                "attribute_type" => {
                    self.needs(",");
                    Test::Type(path, self.operand())
                }
                _ => self.fail(),
            };
            self.needs(")");
            return test;
        }
        let left = self.operand();
        if self.takes_word("BETWEEN") {
            let low = self.operand();
            if !self.takes_word("AND") {
                self.fail();
            }
            return Test::Between(left, low, self.operand());
        }
        if self.takes_word("IN") {
            self.needs("(");
            let mut list = vec![self.operand()];
            while self.takes(",") {
                list.push(self.operand());
            }
            self.needs(")");
            return Test::In(left, list);
        }
        let comparator = match self.next() {
            Token::Sign("=") => Comparator::Equal,
            Token::Sign("<>") => Comparator::Unequal,
            Token::Sign("<") => Comparator::Less,
            Token::Sign("<=") => Comparator::LessOrEqual,
            Token::Sign(">") => Comparator::More,
            Token::Sign(">=") => Comparator::MoreOrEqual,
            _ => self.fail(),
        };
        Test::Compare(left, comparator, self.operand())
    }

    fn assigned_one(&mut self) -> Operand {
        if self.is_word("if_not_exists") {
            self.at += 1;
            self.needs("(");
            let path = self.path();
            self.needs(",");
            let other = self.assigned_one();
            self.needs(")");
            return Operand::IfNotExists(path, Box::new(other));
        }
        let operand = self.operand();
        if matches!(self.peek(), Some(Token::Sign("("))) {
            self.fail();
        }
        operand
    }

    fn assigned(&mut self) -> Operand {
        let left = self.assigned_one();
        if self.takes("+") {
            return Operand::Plus(Box::new(left), Box::new(self.assigned_one()));
        }
        if self.takes("-") {
            return Operand::Minus(Box::new(left), Box::new(self.assigned_one()));
        }
        left
    }

    fn ended(&self) {
        if self.at != self.tokens.len() {
            self.fail();
        }
    }
}

/// Parses a condition.
pub(super) fn condition(text: &str) -> Test {
    let mut parser = Parser::new(text);
    let test = parser.any();
    parser.ended();
    test
}

/// Parses an update. The service refuses one that names an attribute twice.
pub(super) fn update(text: &str) -> Vec<Change> {
    let mut parser = Parser::new(text);
    let mut changes = Vec::new();
    let (mut clauses, mut named) = (BTreeSet::new(), BTreeSet::new());
    while parser.at < parser.tokens.len() {
        let Token::Word(clause) = parser.next() else {
            parser.fail()
        };
        assert!(clauses.insert(clause.clone()), "{text:?} repeats {clause}");
        loop {
            let path = parser.path();
            assert!(
                named.insert(format!("{path:?}")),
                "{text:?} names {path:?} twice"
            );
            changes.push(match clause.as_str() {
                "SET" => {
                    parser.needs("=");
                    Change::Set(path, parser.assigned())
                }
                "REMOVE" => Change::Remove(path),
                "ADD" => Change::Add(path, parser.operand()),
                "DELETE" => Change::Delete(path, parser.operand()),
                _ => parser.fail(),
            });
            if !parser.takes(",") {
                break;
            }
        }
    }
    changes
}
