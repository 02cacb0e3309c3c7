//! The page: Markdown of what the protos and the table of reasons say.

use std::collections::{BTreeMap, BTreeSet};

use marram_gateway::{ReasonInfo, reasons};
use tonic::Code;

use super::protos::{About, Api, Entity, Field, Kind, Method, Service, Shape};

/// What every call may end with, whatever it does.
pub(crate) const ANY_CALL: [&str; 9] = [
    "TOKEN_MISSING",
    "TOKEN_INVALID",
    "TOKEN_EXPIRED",
    "KEY_UNKNOWN",
    "PERMISSION_DENIED",
    "INVALID_ARGUMENT",
    "METADATA_UNAVAILABLE",
    "OVERLOADED",
    "INTERNAL",
];

const HEAD: &str = "# The API

The gRPC API `marram.v1`: each method with what it takes, what it answers and how it fails. This page is made from the
comments in [proto/](../proto/marram/v1) and from the gateway's table of errors; a test holds it current.

";

const CALLS: &str = "## Calls

A call carries `authorization: Bearer TOKEN`, where TOKEN is a JSON Web Token (HS256) signed with the secret of an access
key: `kid` in its header and `sub` are the id of the key, `aud` is `marram`, and `exp` is at most five minutes after `iat`.
The services of health and reflection are there too.

A call that fails ends with a gRPC status. Its details hold a `google.rpc.ErrorInfo` of the domain `marram.dev`, whose
reason is for programs, and a `google.rpc.RetryInfo` where another try can help. A mutation that takes a `RequestId` is
carried out once, however often it is sent with the same one.

";

/// Where each message is described: under a method, or on its own.
type Places = BTreeMap<String, String>;

/// The whole page.
pub(crate) fn write(api: &Api) -> String {
    let places = places(api);
    let mut page = HEAD.to_owned();
    page += &contents(api);
    page += CALLS;
    let any = ANY_CALL.map(str::to_owned);
    page += &format!("Any call may end with {}.\n\n", errors(&any));
    for service in &api.services {
        page += &service_section(api, service, &places);
    }
    page += "## Messages\n\nWhat stands in requests and answers.\n\n";
    for (name, entity) in own(api) {
        page += &format!(
            "### {name}\n\n{}{}",
            text(&entity.about),
            body(entity, &places)
        );
    }
    page += &reasons_section();
    format!("{}\n", page.trim_end())
}

fn anchor(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "-")
}

fn contents(api: &Api) -> String {
    let link = |name: &str| format!("[{name}](#{})", anchor(name));
    let mut list = format!("- {}\n", link("Calls"));
    for service in &api.services {
        let methods: Vec<String> = service.methods.iter().map(|m| link(&m.name)).collect();
        list += &format!("- {}: {}\n", link(&service.name), methods.join(", "));
    }
    list + &format!("- {}\n- {}\n\n", link("Messages"), link("Reasons"))
}

/// Requests and answers stand under their method; everything else on its own.
fn places(api: &Api) -> Places {
    let mut places: Places = api
        .entities
        .keys()
        .map(|name| (name.clone(), anchor(name)))
        .collect();
    for method in api.services.iter().flat_map(|service| &service.methods) {
        for name in [&method.request, &method.response] {
            places.insert(name.clone(), anchor(&method.name));
        }
    }
    places
}

fn own(api: &Api) -> impl Iterator<Item = (&String, &Entity)> {
    let methods = api.services.iter().flat_map(|service| &service.methods);
    let shown: BTreeSet<&String> = methods.flat_map(|m| [&m.request, &m.response]).collect();
    api.entities
        .iter()
        .filter(move |(name, _)| !shown.contains(name))
}

fn service_section(api: &Api, service: &Service, places: &Places) -> String {
    let mut section = format!("## {}\n\n{}", service.name, text(&service.about));
    if !service.about.errors.is_empty() {
        let list = errors(&service.about.errors);
        section += &format!("Its methods may end with {list}.\n\n");
    }
    for method in &service.methods {
        section += &method_section(api, method, places);
    }
    section
}

fn method_section(api: &Api, method: &Method, places: &Places) -> String {
    let kind = match (method.client_streams, method.server_streams) {
        (false, false) => "Unary.",
        (true, false) => "The client streams.",
        (false, true) => "The server streams.",
        (true, true) => "Both stream.",
    };
    let mut section = format!("### {}\n\n{kind} {}", method.name, text(&method.about));
    for (word, name) in [("Request", &method.request), ("Answer", &method.response)] {
        let entity = &api.entities[name];
        section += &format!(
            "{word}: `{name}`{}",
            match &entity.shape {
                Shape::Message(fields, _) if fields.is_empty() =>
                    ", without fields.\n\n".to_owned(),
                _ => format!("\n\n{}", body(entity, places)),
            }
        );
    }
    if !method.about.errors.is_empty() {
        section += &format!("Errors: {}.\n\n", errors(&method.about.errors));
    }
    section
}

fn text(about: &About) -> String {
    let paragraphs = about
        .text
        .iter()
        .map(|paragraph| format!("{paragraph}\n\n"));
    paragraphs.collect()
}

fn body(entity: &Entity, places: &Places) -> String {
    match &entity.shape {
        Shape::Message(fields, oneofs) => {
            let oneofs = oneofs
                .iter()
                .map(|(name, about)| format!("One of `{name}`: {}", text(about)));
            let mut body: String = oneofs.collect();
            body += "| field | type | |\n|---|---|---|\n";
            for field in fields {
                body += &field_row(field, places);
            }
            body + "\n"
        }
        Shape::Enum(values) => {
            let rows = values
                .iter()
                .map(|(name, about)| format!("| `{name}` | {} |\n", cell(about)));
            let rows: String = rows.collect();
            format!("| value | |\n|---|---|\n{rows}\n")
        }
    }
}

fn cell(about: &About) -> String {
    about.text.join(" ").replace('|', "\\|")
}

fn field_row(field: &Field, places: &Places) -> String {
    let Kind { before, name, ours } = &field.kind;
    let kind = match places.get(name).filter(|_| *ours) {
        Some(place) => format!("{before}[{name}](#{place})"),
        None => format!("{before}{name}"),
    };
    let choice = field.one_of.as_ref();
    let choice = choice.map_or(String::new(), |name| format!(" (of `{name}`)"));
    format!(
        "| `{}`{choice} | {kind} | {} |\n",
        field.name,
        cell(&field.about)
    )
}

/// `NotFound` as the wire calls it.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Reasons with their codes, one list.
fn errors(names: &[String]) -> String {
    let known: BTreeMap<&str, ReasonInfo> = reasons().map(|r| (r.name, r)).collect();
    let listed = names.iter().map(|name| {
        let Some(reason) = known.get(name.as_str()) else {
            panic!("the protos name {name}, which is no reason of the gateway's table");
        };
        format!("`{name}` ({})", code_name(reason.code))
    });
    listed.collect::<Vec<_>>().join(", ")
}

fn reasons_section() -> String {
    let mut section = "## Reasons

Every reason, with the code that carries it and whether another try can help. Where a time stands, `google.rpc.RetryInfo`
tells it: wait that long, longer after each try. Where \"no\" stands, the same call fails again until something else changes.

| reason | code | again? | |
|---|---|---|---|
"
    .to_owned();
    for reason in reasons() {
        let again = reason.retry_after.map_or_else(
            || "no".to_owned(),
            |delay| format!("after {} ms", delay.as_millis()),
        );
        let (name, code) = (reason.name, code_name(reason.code));
        section += &format!("| `{name}` | {code} | {again} | {} |\n", reason.meaning);
    }
    section
}
