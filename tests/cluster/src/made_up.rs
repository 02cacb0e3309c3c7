//! Messages that nobody would send: the right fields with strange values, and bytes that are no message.
//!
//! They follow the descriptors of the API, so a new method or field is covered as soon as it is there. Values
//! that the server has told (ids of uploads, page tokens, generations) are used again, so that calls go deeper
//! than the first check.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};

/// Messages within messages.
const DEPTH_MAX: usize = 6;
/// Values that are kept of each field.
const LEARNED_MAX: usize = 64;
/// Bytes in which a message is changed to be none any more.
const CHANGES_MAX: usize = 4;
/// Of a field that may be repeated, at most; sometimes many more.
const REPEATED_MAX: usize = 3;
const REPEATED_MANY: usize = 1_100;

/// Numbers at which something begins or ends.
const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    3,
    7,
    99,
    1_000,
    1_001,
    10_000,
    10_001,
    65_536,
    5 << 20,
    u32::MAX as u64,
    1 << 32,
    5 << 40,
    (5 << 40) + 1,
    i64::MAX as u64,
    u64::MAX,
];

/// Texts that are no name of anything.
fn strange(rng: &mut SmallRng) -> String {
    match rng.random_range(0..9) {
        0 => String::new(),
        1 => "\u{0}".to_owned(),
        2 => "a\r\nb".to_owned(),
        3 => "\u{7f}\u{85}\u{2028}".to_owned(),
        4 => "../../etc/passwd".to_owned(),
        5 => "x".repeat(1025),
        6 => "m://fuzz/\u{1f33e}".to_owned(),
        7 => "-1".to_owned(),
        _ => {
            let length = rng.random_range(1..40);
            let letters = (0..length).map(|_| char::from(rng.random_range(b' '..=b'~')));
            letters.collect()
        }
    }
}

/// Makes messages from a seed.
#[derive(Debug)]
pub struct MadeUp {
    rng: SmallRng,
    /// Good values of fields, by the field's name.
    known: BTreeMap<String, Vec<Value>>,
}

impl MadeUp {
    /// `known` are good texts for fields of these names.
    #[must_use]
    pub fn new(seed: u64, known: &[(&str, &[&str])]) -> Self {
        let text = |text: &&str| Value::String((*text).to_owned());
        let known = known
            .iter()
            .map(|(name, texts)| ((*name).to_owned(), texts.iter().map(text).collect()));
        Self {
            rng: SmallRng::seed_from_u64(seed),
            known: known.collect(),
        }
    }

    /// Keeps what a server has told, to ask with it again.
    pub fn learn(&mut self, answer: &DynamicMessage) {
        for (field, value) in answer.fields() {
            match value {
                Value::Message(inner) => self.learn(inner),
                Value::List(values) => {
                    for inner in values.iter().filter_map(Value::as_message) {
                        self.learn(inner);
                    }
                }
                Value::String(_) | Value::U64(_) | Value::U32(_) | Value::Bytes(_) => {
                    let kept = self.known.entry(field.name().to_owned()).or_default();
                    if kept.len() == LEARNED_MAX {
                        kept.swap_remove(self.rng.random_range(0..LEARNED_MAX));
                    }
                    kept.push(value.clone());
                }
                _ => {}
            }
        }
    }

    /// A message of this type.
    #[must_use]
    pub fn message(&mut self, of: &MessageDescriptor) -> DynamicMessage {
        self.nested(of, 0)
    }

    fn nested(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            if self.rng.random_bool(0.7) {
                let value = self.field(&field, depth);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            let count = self.rng.random_range(0..=REPEATED_MAX);
            let pairs = (0..count).map(|_| {
                let key = MapKey::String(strange(&mut self.rng));
                (key, Value::String(strange(&mut self.rng)))
            });
            return Value::Map(pairs.collect::<HashMap<_, _>>());
        }
        if field.is_list() {
            let many = depth < 2 && self.rng.random_bool(0.02);
            let count = if many {
                REPEATED_MANY
            } else {
                self.rng.random_range(0..=REPEATED_MAX)
            };
            return Value::List((0..count).map(|_| self.single(field, depth)).collect());
        }
        self.single(field, depth)
    }

    fn single(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let kind = field.kind();
        if self.rng.random_bool(0.8) {
            let known = self.known.get(field.name()).into_iter().flatten();
            let fitting: Vec<&Value> = known.filter(|value| value.is_valid(&kind)).collect();
            if let Some(value) = fitting.choose(&mut self.rng) {
                return (*value).clone();
            }
        }
        let number = self.number();
        match kind {
            Kind::Bool => Value::Bool(self.rng.random()),
            Kind::String => Value::String(strange(&mut self.rng)),
            Kind::Bytes => Value::Bytes(self.bytes()),
            Kind::Double => Value::F64(f64::from_bits(number)),
            Kind::Float => Value::F32(f32::from_bits(number as u32)),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number),
            // Those that there are, and sometimes one that is not.
            Kind::Enum(of) => {
                let end = of.values().len() as i32 + 2;
                Value::EnumNumber(self.rng.random_range(-1..end))
            }
            Kind::Message(of) if depth < DEPTH_MAX => Value::Message(self.nested(&of, depth + 1)),
            Kind::Message(of) => Value::Message(DynamicMessage::new(of)),
        }
    }

    fn number(&mut self) -> u64 {
        if self.rng.random_bool(0.8) {
            *NUMBERS.choose(&mut self.rng).expect("there are some")
        } else {
            self.rng.random()
        }
    }

    fn bytes(&mut self) -> Bytes {
        let length = *[0, 1, 16, 32, 100, 5_000]
            .choose(&mut self.rng)
            .expect("some");
        let mut bytes = vec![0; length];
        self.rng.fill_bytes(&mut bytes);
        bytes.into()
    }

    /// Bytes that are probably no message of this type: random ones, and messages that are cut, changed,
    /// nested too deep, or say that they are longer than they are.
    #[must_use]
    pub fn garbage(&mut self, of: &MessageDescriptor) -> Vec<u8> {
        let mut bytes = self.message(of).encode_to_vec();
        match self.rng.random_range(0..6) {
            0 => bytes = self.bytes().to_vec(),
            1 => bytes.truncate(self.rng.random_range(0..=bytes.len())),
            2 if !bytes.is_empty() => {
                for _ in 0..self.rng.random_range(1..=CHANGES_MAX) {
                    let at = self.rng.random_range(0..bytes.len());
                    bytes[at] = self.rng.random();
                }
            }
            // A field of almost 4 GiB, of which there is nothing.
            3 => bytes.extend([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            // A text that is none.
            4 => bytes.extend([0x0a, 0x02, 0xc3, 0x28]),
            // Groups within groups, which prost must not follow without end.
            _ => bytes.extend(std::iter::repeat_n(0x0b, 20_000)),
        }
        bytes
    }
}
