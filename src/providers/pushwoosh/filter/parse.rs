//! From tokens to a filter.
//!
//! Brackets and operations that wait for their right side lie on a stack of our own, so that no
//! depth of brackets exhausts the thread's. A set itself has no depth.

use super::condition::{Condition, Misfit, Operand, Operator, Scalar};
use super::error::{Problem, is_quote_like, nearest};
use super::token::{Spanned, Token, Tokens};
use super::tree::{BadText, Filter, Name, Operation, Platform, Set, Step, Text};

/// Reads a text; the second result is how many steps that took.
pub(super) fn parse(text: &str) -> (Result<Filter, Problem>, usize) {
    let mut parser = Parser { tokens: Tokens::new(text), waiting: Vec::new(), done: Vec::new(), moves: 0 };
    let read = parser.filter();
    let steps = parser.tokens.looks + parser.moves;
    (read.map(|()| Filter::of_steps(parser.done)), steps)
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    waiting: Vec<Waiting>,
    done: Vec<Step>,
    /// Pushes so far (nothing is popped twice): shows that the work is in proportion to the text.
    moves: usize,
}

/// What waits for its right side.
enum Waiting {
    /// An opening bracket.
    Bracket,
    /// An operation.
    Operation(Operation),
}

/// What comes after a set.
enum After {
    Operation(Operation),
    End,
}

const SET: &str = "A(…), G(…), T(…), AT(…) or `(`";
const LETTERS: [&str; 4] = ["A", "G", "T", "AT"];

impl<'a> Parser<'a> {
    fn filter(&mut self) -> Result<(), Problem> {
        loop {
            self.brackets_and_set()?;
            match self.closings()? {
                After::Operation(operation) => self.operation(operation),
                After::End => return Ok(()),
            }
        }
    }

    fn brackets_and_set(&mut self) -> Result<(), Problem> {
        loop {
            let next = self.tokens.next()?;
            match next.token {
                Token::Open => self.wait(Waiting::Bracket),
                Token::Word(letters) => {
                    let set = self.set(next, letters)?;
                    self.finish(Step::Set(set));
                    return Ok(());
                }
                Token::Close
                | Token::OpenList
                | Token::CloseList
                | Token::Comma
                | Token::Operation(_)
                | Token::Text(_)
                | Token::Number(_)
                | Token::Other(_)
                | Token::End => return Err(unexpected(next, SET)),
            }
        }
    }

    fn closings(&mut self) -> Result<After, Problem> {
        loop {
            let next = self.tokens.next()?;
            match next.token {
                Token::Close => self.close(next)?,
                Token::Operation(operation) => return Ok(After::Operation(operation)),
                Token::End => return self.end(next),
                Token::Open
                | Token::OpenList
                | Token::CloseList
                | Token::Comma
                | Token::Word(_)
                | Token::Text(_)
                | Token::Number(_)
                | Token::Other(_) => return Err(unexpected(next, self.after_a_set())),
            }
        }
    }

    /// Finishes what binds at least as tight and stands to the left: that groups it from the left.
    fn operation(&mut self, operation: Operation) {
        while let Some(Waiting::Operation(left)) = self.waiting.last()
            && left.priority() >= operation.priority()
        {
            let left = *left;
            self.waiting.pop();
            self.finish(Step::Combine(left));
        }
        self.wait(Waiting::Operation(operation));
    }

    fn close(&mut self, bracket: Spanned<'_>) -> Result<(), Problem> {
        while let Some(waiting) = self.waiting.pop() {
            match waiting {
                Waiting::Operation(operation) => self.finish(Step::Combine(operation)),
                Waiting::Bracket => return Ok(()),
            }
        }
        Err(Problem::new(bracket.at, "`)` that closes no bracket", self.after_a_set()))
    }

    fn end(&mut self, end: Spanned<'_>) -> Result<After, Problem> {
        while let Some(waiting) = self.waiting.pop() {
            match waiting {
                Waiting::Operation(operation) => self.finish(Step::Combine(operation)),
                Waiting::Bracket => return Err(unexpected(end, "`)`: a bracket is open")),
            }
        }
        Ok(After::End)
    }

    /// Called where an error ends the work, so that the search for a bracket is made at most once.
    fn after_a_set(&self) -> &'static str {
        if self.waiting.iter().any(|waiting| matches!(waiting, Waiting::Bracket)) {
            "`+` (or), `*` (and), `\\` (and not), or `)`"
        } else {
            "`+` (or), `*` (and), `\\` (and not), or the end of the text"
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        self.moves += 1;
        self.waiting.push(waiting);
    }

    fn finish(&mut self, step: Step) {
        self.moves += 1;
        self.done.push(step);
    }

    fn set(&mut self, start: Spanned<'_>, letters: &str) -> Result<Set, Problem> {
        match letters {
            "A" => self.audience("the code of an application").map(application),
            "G" => self.audience("the code of a group of applications").map(group),
            "T" => self.tag(),
            "AT" => self.app_tag(),
            unknown => Err(unexpected(start, suggest(SET, unknown, &LETTERS))),
        }
    }

    fn audience(&mut self, what: &str) -> Result<(Name, Vec<Platform>), Problem> {
        self.open()?;
        let code = self.name(what)?;
        let next = self.tokens.next()?;
        if next.token == Token::Close {
            return Ok((code, Vec::new()));
        }
        if next.token != Token::Comma {
            return Err(unexpected(next, "`,` and a list of platforms, or `)`"));
        }
        let platforms = self.platforms()?;
        self.sign(Token::Close, "`)`")?;
        Ok((code, platforms))
    }

    fn platforms(&mut self) -> Result<Vec<Platform>, Problem> {
        self.sign(Token::OpenList, "a list of platforms, such as [\"iOS\", \"Android\"]")?;
        let mut platforms = Vec::new();
        loop {
            let next = self.tokens.next()?;
            if next.token == Token::CloseList && platforms.is_empty() {
                return Err(Problem::new(next.at, "an empty list", "a platform; all of them without a list"));
            }
            platforms.push(platform(next)?);
            if !self.list_goes_on()? {
                return Ok(platforms);
            }
        }
    }

    fn tag(&mut self) -> Result<Set, Problem> {
        self.open()?;
        let name = self.name("the name of a tag")?;
        let condition = self.condition()?;
        Ok(Set::Tag { name, condition })
    }

    fn app_tag(&mut self) -> Result<Set, Problem> {
        self.open()?;
        let app = self.name("the code of an application")?;
        self.sign(Token::Comma, "`,` and the name of a tag")?;
        let name = self.name("the name of a tag")?;
        let condition = self.condition()?;
        Ok(Set::AppTag { app, name, condition })
    }

    fn condition(&mut self) -> Result<Condition, Problem> {
        self.sign(Token::Comma, "`,` and an operator")?;
        let next = self.tokens.next()?;
        let operator = operator(next)?;
        self.sign(Token::Comma, "`,` and an operand; \"\" for NOTSET and ANY")?;
        let condition = self.operand(operator)?;
        self.sign(Token::Close, "`)`")?;
        Ok(condition)
    }

    fn operand(&mut self, operator: Operator) -> Result<Condition, Problem> {
        let first = self.tokens.next()?;
        let mut places = Vec::new();
        let operand = if first.token == Token::OpenList {
            Operand::List(self.items(&mut places)?)
        } else {
            Operand::One(scalar(
                first,
                "a text in straight double quotes, a whole number, or a list of these",
            )?)
        };
        let problem = |Misfit { item, found, expected }| {
            let at = item.and_then(|index| places.get(index)).copied().unwrap_or(first.at);
            Problem::new(at, format!("{found} for {}", operator.word()), expected)
        };
        Condition::new(operator, operand).map_err(problem)
    }

    fn items(&mut self, places: &mut Vec<usize>) -> Result<Vec<Scalar>, Problem> {
        let mut items = Vec::new();
        loop {
            let next = self.tokens.next()?;
            if next.token == Token::CloseList && items.is_empty() {
                return Err(Problem::new(next.at, "an empty list", "at least one value"));
            }
            places.push(next.at);
            items.push(scalar(next, "a text in straight double quotes or a whole number")?);
            if !self.list_goes_on()? {
                return Ok(items);
            }
        }
    }

    /// Whether another item follows; if not, the list is closed.
    fn list_goes_on(&mut self) -> Result<bool, Problem> {
        let next = self.tokens.next()?;
        if next.token != Token::Comma && next.token != Token::CloseList {
            return Err(unexpected(next, "`,` or `]`"));
        }
        Ok(next.token == Token::Comma)
    }

    fn open(&mut self) -> Result<(), Problem> {
        self.sign(Token::Open, "`(`")
    }

    fn sign(&mut self, wanted: Token<'_>, expected: &str) -> Result<(), Problem> {
        let next = self.tokens.next()?;
        if next.token == wanted { Ok(()) } else { Err(unexpected(next, expected)) }
    }

    fn name(&mut self, what: &str) -> Result<Name, Problem> {
        let next = self.tokens.next()?;
        let Token::Text(value) = next.token else {
            return Err(no_text(next, &format!("{what} in straight double quotes")));
        };
        Name::new(value).map_err(|bad| match bad {
            BadText::Blank => Problem::new(next.at, bad.to_string(), what),
            BadText::Quote | BadText::Backslash => Problem::bad_text(next.at, bad),
        })
    }
}

fn application((code, platforms): (Name, Vec<Platform>)) -> Set {
    Set::Application { code, platforms }
}

fn group((code, platforms): (Name, Vec<Platform>)) -> Set {
    Set::Group { code, platforms }
}

fn platform(next: Spanned<'_>) -> Result<Platform, Problem> {
    let names = || Platform::ALL.map(Platform::name).join(", ");
    let Token::Text(name) = next.token else {
        return Err(no_text(next, &format!("a platform in straight double quotes: {}", names())));
    };
    let unknown = || {
        let expected = suggest(&format!("one of {}", names()), name, &Platform::ALL.map(Platform::name));
        Problem::new(next.at, format!("{} that names no platform", next.token.describe()), expected)
    };
    Platform::parse(name).ok_or_else(unknown)
}

fn operator(next: Spanned<'_>) -> Result<Operator, Problem> {
    let words = Operator::ALL.map(Operator::word);
    let expected = format!("an operator, in capitals and without quotes: {}", words.join(", "));
    match next.token {
        Token::Word(word) => {
            Operator::parse(word).ok_or_else(|| unexpected(next, suggest(&expected, word, &words)))
        }
        Token::Text(word) if nearest(word.trim(), &words).is_some() => {
            Err(Problem::new(next.at, "an operator in quotes", expected))
        }
        Token::Open
        | Token::Close
        | Token::OpenList
        | Token::CloseList
        | Token::Comma
        | Token::Operation(_)
        | Token::Text(_)
        | Token::Number(_)
        | Token::Other(_)
        | Token::End => Err(unexpected(next, expected)),
    }
}

fn scalar(next: Spanned<'_>, expected: &str) -> Result<Scalar, Problem> {
    match next.token {
        Token::Text(value) => {
            Text::new(value).map(Scalar::Text).map_err(|bad| Problem::bad_text(next.at, bad))
        }
        Token::Number(number) => Ok(Scalar::Number(number)),
        Token::Open
        | Token::Close
        | Token::OpenList
        | Token::CloseList
        | Token::Comma
        | Token::Operation(_)
        | Token::Word(_)
        | Token::Other(_)
        | Token::End => Err(no_text(next, expected)),
    }
}

fn suggest(expected: &str, word: &str, words: &[&'static str]) -> String {
    match nearest(word, words) {
        Some(meant) => format!("{expected}; did you mean {meant}?"),
        None => expected.to_owned(),
    }
}

/// Something else where a text could stand. A backslash there is the usual sign of a quote that was
/// escaped twice.
fn no_text(next: Spanned<'_>, expected: &str) -> Problem {
    if next.token == Token::Operation(Operation::Difference) {
        return unexpected(next, format!("{expected}, without a backslash before it"));
    }
    unexpected(next, expected)
}

fn unexpected(next: Spanned<'_>, expected: impl Into<String>) -> Problem {
    let found = next.token.describe();
    if let Token::Other(c) = next.token
        && is_quote_like(c)
    {
        return Problem::quote(next.at, found);
    }
    Problem::new(next.at, found, expected)
}
