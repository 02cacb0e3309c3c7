//! What the protos say: services, messages and enums with their comments.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

/// The files whose services make the API, in the order of the page.
const SERVICES: [&str; 7] = [
    "bucket", "object", "upload", "write", "watch", "iam", "admin",
];
const PACKAGE: &str = ".marram.v1.";
// Numbers of fields in descriptors, of which paths of comments are made.
const FILE_MESSAGES: i32 = 4;
const FILE_ENUMS: i32 = 5;
const FILE_SERVICES: i32 = 6;
const MESSAGE_FIELDS: i32 = 2;
const MESSAGE_ONEOFS: i32 = 8;
const ENUM_VALUES: i32 = 2;
const SERVICE_METHODS: i32 = 2;

/// A comment: its text, a paragraph a string, and the reasons of its "Errors:" paragraph.
#[derive(Default, Clone)]
pub(crate) struct About {
    pub(crate) text: Vec<String>,
    pub(crate) errors: Vec<String>,
}

pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) about: About,
    pub(crate) request: String,
    pub(crate) response: String,
    pub(crate) client_streams: bool,
    pub(crate) server_streams: bool,
}

pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) about: About,
    pub(crate) methods: Vec<Method>,
}

/// The type of a field: what is written before its name, and whether that is one of the API's own.
pub(crate) struct Kind {
    pub(crate) before: String,
    pub(crate) name: String,
    pub(crate) ours: bool,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) about: About,
    pub(crate) one_of: Option<String>,
}

pub(crate) enum Shape {
    /// Its fields, and its oneofs with what their comments say.
    Message(Vec<Field>, Vec<(String, About)>),
    /// Its values.
    Enum(Vec<(String, About)>),
}

pub(crate) struct Entity {
    pub(crate) about: About,
    pub(crate) shape: Shape,
}

pub(crate) struct Api {
    pub(crate) services: Vec<Service>,
    /// Messages and enums by name.
    pub(crate) entities: BTreeMap<String, Entity>,
}

type Comments = HashMap<Vec<i32>, About>;

impl Api {
    /// Reads the public API under the folder of the protos.
    pub(crate) fn read(root: &Path) -> Self {
        let mut compiler = protox::Compiler::new([root]).unwrap();
        compiler.include_imports(true).include_source_info(true);
        for name in SERVICES {
            compiler
                .open_file(root.join(format!("marram/v1/{name}.proto")))
                .unwrap();
        }
        let mut services = BTreeMap::new();
        let mut entities = BTreeMap::new();
        for file in compiler.file_descriptor_set().file {
            let comments = comments(&file);
            for (at, message) in (0..).zip(&file.message_type) {
                let entity = message_entity(message, &comments, &[FILE_MESSAGES, at]);
                entities.insert(message.name().to_owned(), entity);
            }
            for (at, set) in (0..).zip(&file.enum_type) {
                let entity = enum_entity(set, &comments, &[FILE_ENUMS, at]);
                entities.insert(set.name().to_owned(), entity);
            }
            if !file.service.is_empty() {
                services.insert(file.name().to_owned(), services_of(&file, &comments));
            }
        }
        let services = SERVICES
            .iter()
            .flat_map(|name| services.remove(&format!("marram/v1/{name}.proto")).unwrap())
            .collect();
        Self { services, entities }
    }
}

fn comments(file: &FileDescriptorProto) -> Comments {
    let info = file.source_code_info.as_ref().unwrap();
    info.location
        .iter()
        .map(|location| (location.path.clone(), about(location.leading_comments())))
        .collect()
}

fn about(comment: &str) -> About {
    let mut about = About::default();
    let lines: Vec<&str> = comment.lines().map(str::trim).collect();
    for paragraph in lines.split(|line| line.is_empty()) {
        let text = paragraph.join(" ");
        match text.strip_prefix("Errors: ") {
            Some(errors) => {
                let names = errors.trim_end_matches('.').split(", ");
                about.errors = names.map(str::to_owned).collect();
            }
            None if text.is_empty() => {}
            None => about.text.push(text),
        }
    }
    about
}

fn find(comments: &Comments, path: &[i32], more: &[i32]) -> About {
    comments
        .get(&[path, more].concat())
        .cloned()
        .unwrap_or_default()
}

fn short(name: &str) -> String {
    name.strip_prefix(PACKAGE).unwrap_or(name).to_owned()
}

fn services_of(file: &FileDescriptorProto, comments: &Comments) -> Vec<Service> {
    let services = (0..).zip(&file.service);
    services
        .map(|(at, service)| {
            let path = [FILE_SERVICES, at];
            let methods = (0..).zip(&service.method).map(|(index, method)| Method {
                name: method.name().to_owned(),
                about: find(comments, &path, &[SERVICE_METHODS, index]),
                request: short(method.input_type()),
                response: short(method.output_type()),
                client_streams: method.client_streaming(),
                server_streams: method.server_streaming(),
            });
            Service {
                name: service.name().to_owned(),
                about: find(comments, &path, &[]),
                methods: methods.collect(),
            }
        })
        .collect()
}

fn message_entity(message: &DescriptorProto, comments: &Comments, path: &[i32]) -> Entity {
    let fields = (0..).zip(&message.field).map(|(at, field)| {
        let one_of = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name());
        Field {
            name: field.name().to_owned(),
            kind: kind(field, message),
            about: find(comments, path, &[MESSAGE_FIELDS, at]),
            one_of: one_of.map(str::to_owned),
        }
    });
    let fields: Vec<Field> = fields.collect();
    let oneofs = (0..).zip(&message.oneof_decl).filter_map(|(at, oneof)| {
        let used = |field: &Field| field.one_of.as_deref() == Some(oneof.name());
        let about = find(comments, path, &[MESSAGE_ONEOFS, at]);
        let real = fields.iter().any(used);
        real.then(|| (oneof.name().to_owned(), about))
    });
    let oneofs = oneofs.collect();
    Entity {
        about: find(comments, path, &[]),
        shape: Shape::Message(fields, oneofs),
    }
}

fn enum_entity(set: &EnumDescriptorProto, comments: &Comments, path: &[i32]) -> Entity {
    let values = (0..).zip(&set.value).map(|(at, value)| {
        let about = find(comments, path, &[ENUM_VALUES, at]);
        (value.name().to_owned(), about)
    });
    Entity {
        about: find(comments, path, &[]),
        shape: Shape::Enum(values.collect()),
    }
}

fn kind(field: &FieldDescriptorProto, message: &DescriptorProto) -> Kind {
    let ours = matches!(field.r#type(), Type::Message | Type::Enum);
    let plain = |before: &str| Kind {
        before: before.to_owned(),
        name: if ours {
            short(field.type_name())
        } else {
            scalar(field.r#type())
        },
        ours,
    };
    let entry = message.nested_type.iter().find(|nested| {
        let is_map = nested
            .options
            .as_ref()
            .is_some_and(prost_types::MessageOptions::map_entry);
        is_map && field.type_name().ends_with(&format!(".{}", nested.name()))
    });
    if let Some(entry) = entry {
        let value = kind(&entry.field[1], entry);
        return Kind {
            before: format!(
                "map of {} to {}",
                scalar(entry.field[0].r#type()),
                value.before
            ),
            ..value
        };
    }
    match field.label() {
        Label::Repeated => plain("repeated "),
        _ if field.proto3_optional() => plain("optional "),
        _ => plain(""),
    }
}

fn scalar(kind: Type) -> String {
    let name = kind.as_str_name();
    name.trim_start_matches("TYPE_").to_ascii_lowercase()
}
