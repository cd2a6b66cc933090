//! Operations of the document: their requests and their answers.

use serde_json::{Map, Value, json};

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain";

/// One answer: its status, its description, the media type of its body, and the body's schema.
pub(super) type ResponseSpec = (&'static str, &'static str, &'static str, Value);

/// The answers of an operation, by their status.
pub(super) fn answers(all: impl IntoIterator<Item = ResponseSpec>) -> Value {
    let answer = |(status, description, kind, schema): ResponseSpec| {
        let answer =
            json!({ "description": description, "content": { kind: { "schema": schema } } });
        (status.to_owned(), answer)
    };
    Value::Object(all.into_iter().map(answer).collect())
}

/// A GET operation.
pub(super) fn get(id: &str, summary: &str, all: Vec<ResponseSpec>) -> Value {
    json!({ "get": { "operationId": id, "summary": summary, "responses": answers(all) } })
}

/// The schema of a text.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// A file of the page.
pub(super) fn file(id: &str, summary: &str, kind: &'static str) -> Value {
    get(id, summary, vec![("200", "The file.", kind, text())])
}

/// A POST operation.
pub(super) struct Post<'a> {
    pub(super) id: &'a str,
    pub(super) summary: &'a str,
    pub(super) description: &'a str,
    /// The schema of the request's body, if it has one.
    pub(super) body: Option<Value>,
    /// The answers that are specific to this operation.
    pub(super) answers: Vec<ResponseSpec>,
    /// Whether it requires the token.
    pub(super) changes: bool,
}

impl Post<'_> {
    pub(super) fn operation(self, error: &Value) -> Value {
        let mut all = self.answers;
        if self.body.is_some() {
            all.push(("400", "The request is not valid.", JSON, error.clone()));
            all.push(("413", "The body is larger than 1 MiB.", TEXT, text()));
            all.push(("415", "The body is not declared as JSON.", JSON, error.clone()));
        }
        if self.changes {
            all.push(("401", "The token is missing or wrong.", JSON, error.clone()));
        }
        let mut operation = Map::new();
        operation.insert("operationId".into(), self.id.into());
        operation.insert("summary".into(), self.summary.into());
        operation.insert("description".into(), self.description.into());
        if let Some(body) = self.body {
            let body = json!({ "required": true, "content": { JSON: { "schema": body } } });
            operation.insert("requestBody".into(), body);
        }
        let mut answers = answers(all);
        if self.changes {
            operation.insert("security".into(), json!([{ "token": [] }]));
            let bearer = json!({ "required": true, "schema": { "const": "Bearer" } });
            let challenge = json!({ "WWW-Authenticate": bearer });
            insert(&mut answers, "/401", "headers", challenge);
        }
        operation.insert("responses".into(), answers);
        json!({ "post": operation })
    }
}

/// Sets a field of the object at a JSON pointer, if there is one.
pub(super) fn insert(within: &mut Value, pointer: &str, name: &str, value: Value) {
    if let Some(Value::Object(object)) = within.pointer_mut(pointer) {
        object.insert(name.to_owned(), value);
    }
}
