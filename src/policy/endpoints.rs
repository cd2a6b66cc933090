//! Endpoint groups: matches a method and a path against templates.

mod routes;
mod template;

use std::borrow::Cow;

use self::routes::Routes;
use self::template::{MAX_BEFORE_REST, MAX_PLACEHOLDERS, Template};
use super::name_map::is_same;
use super::paths::{Buffer, PathRules, without_query};

/// The most different methods. HTTP has about forty, with WebDAV.
const MAX_METHODS: usize = 64;

/// Templates of endpoints, each with the name of its group. `{x}` matches exactly one segment, which is not empty, and
/// `{*x}` at the end one or more.
#[derive(Debug, Default)]
pub struct Endpoints {
    paths: PathRules,
    /// A handful of methods, compared one by one.
    by_method: Vec<(Box<str>, Routes)>,
    /// The endpoints of `*`.
    of_any_method: Option<Routes>,
    listed: Vec<(Box<str>, Box<str>)>,
}

/// Why a template cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not `METHOD /path`.
    #[error(
        "an endpoint is a method, or several as in `GET,POST`, or `*` for any, and a path, as in \
         `GET /users/{{id}}`"
    )]
    Form,
    /// A method that is listed twice.
    #[error("`{0}` is listed twice; keep one of the two")]
    Repeated(String),
    /// A brace that is not a whole segment, or a rest that is not the last.
    #[error(
        "`{{x}}` must be one whole segment between slashes, and `{{*x}}` the last one; `*` has no \
         other meaning in a path"
    )]
    Brace,
    /// A path in normal form has no `;`.
    #[error(
        "no path has a `;` once `paths: {{ ignore_parameters: true }}` applies; leave it out, and what \
         follows it in its segment"
    )]
    Parameters,
    /// An escape that is decoded in the normal form.
    #[error(
        "no path has `{escape}` once `paths: {{ decode_unreserved: true }}` applies; write `{character}`"
    )]
    Escape {
        /// As it is written.
        escape: String,
        /// What it stands for.
        character: char,
    },
    /// A character that is an escape in the normal form.
    #[error("clients send `{character}` as an escape; write `{escape}`")]
    NotAscii {
        /// As it is written.
        character: char,
        /// As clients send it.
        escape: String,
    },
    /// A path in normal form has no dot segments.
    #[error(
        "no path has a segment `.` or `..` once `paths: {{ remove_dots: true }}` applies; write the path \
         without it"
    )]
    Dots,
    /// A path in normal form has no empty segments.
    #[error("no path has `//` once `paths: {{ merge_slashes: true }}` applies; write one slash")]
    Slashes,
    /// More placeholders than the router has names for.
    #[error(
        "an endpoint has at most {MAX_PLACEHOLDERS} placeholders, and this has {0}; write some segments out"
    )]
    Placeholders(usize),
    /// More segments before a rest than paths are looked up by.
    #[error(
        "`{{*x}}` comes after at most {MAX_BEFORE_REST} segments, and here after {0}; begin the rest \
         earlier"
    )]
    Rest(usize),
    /// One method too many.
    #[error("endpoints have at most {MAX_METHODS} different methods; `{0}` is one too many")]
    Methods(String),
    /// A group has the same template already.
    #[error("this endpoint is in group `{0}` already")]
    Taken(String),
}

impl Endpoints {
    /// No endpoints. Paths are normalized by these rules before they are matched.
    pub(crate) fn new(paths: PathRules) -> Self {
        Self { paths, ..Self::default() }
    }

    /// Adds `METHOD /path/{x}` to a group; `METHOD` may be several, as in `GET,POST`, or `*`.
    ///
    /// # Errors
    /// [`TemplateError`] if the endpoint is not of this form, can never match, exceeds a bound, or is in a group already.
    pub(crate) fn add(&mut self, endpoint: &str, group: &str) -> Result<(), TemplateError> {
        let (methods, path) = endpoint.split_once(' ').ok_or(TemplateError::Form)?;
        let path = path.trim_start();
        let is_method = |method: &str| {
            !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase())
        };
        let is_path = path.starts_with('/')
            && !path.contains(|c: char| c.is_whitespace() || "?#\u{fffd}".contains(c));
        if !is_path || methods != "*" && !methods.split(',').all(is_method) {
            return Err(TemplateError::Form);
        }
        let template = Template::parse(self.paths, without_slash(path))?;
        if methods == "*" {
            self.of_any_method.get_or_insert_default().insert(&template, group)?;
        } else {
            self.add_methods(methods, &template, group)?;
        }
        self.listed.push((endpoint.into(), group.into()));
        Ok(())
    }

    fn add_methods(
        &mut self,
        methods: &str,
        template: &Template,
        group: &str,
    ) -> Result<(), TemplateError> {
        for (at, method) in methods.split(',').enumerate() {
            if methods.split(',').take(at).any(|other| other == method) {
                return Err(TemplateError::Repeated(method.to_owned()));
            }
            self.routes(method)?.insert(template, group)?;
        }
        Ok(())
    }

    fn routes(&mut self, method: &str) -> Result<&mut Routes, TemplateError> {
        let known = self.by_method.iter().position(|(known, _)| **known == *method);
        let at = known.unwrap_or(self.by_method.len());
        if at == MAX_METHODS {
            return Err(TemplateError::Methods(method.to_owned()));
        }
        if known.is_none() {
            self.by_method.push((method.into(), Routes::default()));
        }
        let (_, routes) =
            self.by_method.get_mut(at).ok_or_else(|| TemplateError::Methods(method.to_owned()))?;
        Ok(routes)
    }

    /// Every endpoint as written in the policy, with its group.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.listed.iter().map(|(endpoint, group)| (&**endpoint, &**group))
    }

    /// The group of a request, if any. The query string and one trailing slash are ignored, and the path is normalized.
    /// Methods are case-sensitive; HEAD counts as GET if no endpoint of HEAD matches the path, and an endpoint of any
    /// method matches if none of the request's own does. A placeholder also matches bytes that are not UTF-8.
    pub fn group(&self, method: &[u8], path: &[u8]) -> Option<&str> {
        let as_get = if method == b"HEAD" { self.of_method(b"GET") } else { None };
        let routes = [self.of_method(method), as_get, self.of_any_method.as_ref()];
        if routes.iter().all(Option::is_none) {
            return None;
        }
        let mut buffer = Buffer::new();
        let path = if self.paths.may_change(path) {
            let whole = path.len();
            let path = without_query(path);
            if path.len() < whole {
                self.paths.normalize(path, &mut buffer)
            } else {
                self.paths.normalize_changed(path, &mut buffer)
            }
        } else {
            path
        };
        // Bytes that are not UTF-8 become U+FFFD, which `add` allows in no template.
        let text = std::str::from_utf8(path).map(Cow::Borrowed);
        let text = text.unwrap_or_else(|_| String::from_utf8_lossy(path));
        let text = without_slash(&text);
        routes.into_iter().flatten().find_map(|routes| routes.group(text))
    }

    fn of_method(&self, method: &[u8]) -> Option<&Routes> {
        let known = self.by_method.iter().find(|(known, _)| is_same(known.as_bytes(), method));
        known.map(|(_, routes)| routes)
    }
}

/// The number of methods of an endpoint, valid or not; at most as many as there may be.
pub(crate) fn method_count(endpoint: &str) -> usize {
    let (methods, _) = endpoint.split_once(' ').unwrap_or_default();
    methods.split(',').take(MAX_METHODS).count()
}

/// `/a/` becomes `/a`; `/` stays.
fn without_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::AS_SENT;
    use super::*;

    fn endpoints(templates: &[(&str, &str)]) -> Endpoints {
        endpoints_by(PathRules::default(), templates)
    }

    fn endpoints_by(paths: PathRules, templates: &[(&str, &str)]) -> Endpoints {
        let mut endpoints = Endpoints::new(paths);
        templates.iter().for_each(|(endpoint, group)| endpoints.add(endpoint, group).unwrap());
        endpoints
    }

    #[test]
    fn a_placeholder_is_exactly_one_segment() {
        let endpoints = endpoints(&[("GET /users/{id}", "one"), ("GET /users/{id}/logs", "logs")]);
        assert_eq!(endpoints.group(b"GET", b"/users/7"), Some("one"));
        assert_eq!(endpoints.group(b"GET", b"/users/7/logs"), Some("logs"));
        for other in ["/users", "/users/", "/users//", "/users/7/8", "/users/7/logs/9", ""] {
            assert_eq!(endpoints.group(b"GET", other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_placeholder_never_stands_for_an_empty_segment() {
        let endpoints = endpoints_by(
            AS_SENT,
            &[("GET /{a}/{b}/{c}/{d}", "four"), ("GET /users/{id}/logs", "logs")],
        );
        assert_eq!(endpoints.group(b"GET", b"/a/b/c/d"), Some("four"));
        for other in ["//b/c/d", "/a//c/d", "/a/b//d", "/a/b/c//", "/users//logs"] {
            assert_eq!(endpoints.group(b"GET", other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_placeholder_also_matches_bytes_that_are_not_text() {
        for rules in [PathRules::default(), AS_SENT] {
            let templates = [("GET /users/{id}", "one"), ("GET /users/x", "x")];
            let endpoints = endpoints_by(rules, &templates);
            for path in [&b"/users/\xff"[..], b"/users/x\xff", b"/users/\xff\xfe/?\xff"] {
                assert_eq!(endpoints.group(b"GET", path), Some("one"), "{path:?}");
            }
            assert_eq!(endpoints.group(b"GET", b"/users/x?\xff"), Some("x"));
            assert_eq!(endpoints.group(b"GET\xff", b"/users/x"), None);
            assert_eq!(endpoints.group(b"GET", b"/users\xff/x"), None);
        }
    }

    #[test]
    fn a_name_goes_before_a_placeholder_and_falls_back_to_it() {
        let endpoints = endpoints(&[
            ("GET /orgs/{id}", "id"),
            ("GET /orgs/name", "name"),
            ("GET /orgs/name/{name}", "by name"),
            ("GET /orgs/{org}/members", "members"),
        ]);
        assert_eq!(endpoints.group(b"GET", b"/orgs/name"), Some("name"));
        assert_eq!(endpoints.group(b"GET", b"/orgs/name/members"), Some("by name"));
        assert_eq!(endpoints.group(b"GET", b"/orgs/names"), Some("id"));
        assert_eq!(endpoints.group(b"GET", b"/orgs/7/members"), Some("members"));
    }

    #[test]
    fn query_and_one_trailing_slash_do_not_matter_but_case_does() {
        let endpoints = endpoints(&[("GET /logs/", "logs"), ("GET /", "root")]);
        for same in ["/logs", "/logs/", "/logs?page=2", "/logs/?page=2"] {
            assert_eq!(endpoints.group(b"GET", same.as_bytes()), Some("logs"), "{same}");
        }
        assert_eq!(endpoints.group(b"GET", b"/"), Some("root"));
        assert_eq!(endpoints.group(b"GET", b"/Logs"), None);
        assert_eq!(endpoints.group(b"get", b"/logs"), None);
        assert_eq!(endpoints.group(b"POST", b"/logs"), None);
    }

    #[test]
    fn every_spelling_of_a_path_is_in_its_group() {
        let endpoints =
            endpoints(&[("GET /v2/clients", "list"), ("GET /v2/caf%c3%a9/{id}", "one")]);
        for same in [
            "/v2/clients;v=1",
            "/v2;x/clients",
            "//v2/clients",
            "/v2//clients//",
            "/v2/./clients",
            "/v2/x/../clients/?a=/../b",
            "/v2/x/..;y/clients",
            "/v2/%63lients",
            "/v2/x/%2E%2e/clients",
        ] {
            assert_eq!(endpoints.group(b"GET", same.as_bytes()), Some("list"), "{same}");
        }
        for same in ["/v2/caf%C3%A9/7", "/v2/caf%c3%a9/7", "/v2/café/7"] {
            assert_eq!(endpoints.group(b"GET", same.as_bytes()), Some("one"), "{same}");
        }
        for other in ["/v2/Clients", "/v2%2Fclients", "/v2/clients%3Bv=1", "/v2/clients/.."] {
            assert_eq!(endpoints.group(b"GET", other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn without_rules_every_spelling_is_a_path_of_its_own() {
        let endpoints = endpoints_by(AS_SENT, &[("GET /a/b", "b"), ("GET /a/./%63;v", "odd")]);
        assert_eq!(endpoints.group(b"GET", b"/a/b"), Some("b"));
        assert_eq!(endpoints.group(b"GET", b"/a/./%63;v"), Some("odd"));
        for other in ["/a//b", "/a/./b", "/a/%62", "/a/b;v", "/a/c"] {
            assert_eq!(endpoints.group(b"GET", other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_endpoint_that_no_normal_path_matches_is_an_error_under_its_rule_only() {
        use TemplateError as E;
        let usual = PathRules::default();
        let escape = |escape: &str, character| E::Escape { escape: escape.into(), character };
        let not_ascii = |character, escape: &str| E::NotAscii { character, escape: escape.into() };
        let (no_parameters, no_escapes, no_dots, no_merging) = (
            PathRules { ignore_parameters: false, ..usual },
            PathRules { decode_unreserved: false, ..usual },
            PathRules { remove_dots: false, ..usual },
            PathRules { merge_slashes: false, ..usual },
        );
        for (path, error, without) in [
            ("/a;v=1", E::Parameters, no_parameters),
            ("/;/a", E::Parameters, no_parameters),
            ("/%2F%63lients", escape("%63", 'c'), no_escapes),
            ("/a/%2e", escape("%2e", '.'), no_escapes),
            ("/%25/%7E", escape("%7E", '~'), no_escapes),
            ("/café/{id}", not_ascii('é', "%C3%A9"), no_escapes),
            ("/a/../b", E::Dots, no_dots),
            ("/a/.", E::Dots, no_dots),
            ("/a//b", E::Slashes, no_merging),
            ("/a//", E::Slashes, no_merging),
        ] {
            let endpoint = format!("GET {path}");
            assert_eq!(Endpoints::new(usual).add(&endpoint, "g"), Err(error), "{path}");
            let endpoints = endpoints_by(without, &[(&endpoint, "g")]);
            assert_eq!(endpoints.group(b"GET", path.as_bytes()), Some("g"), "{path}");
        }
        for path in ["/", "//", "/a/", "/a.b/..c", "/%2f%3B%25", "/50%", "/%2563", "/{a;b}"] {
            let endpoints = endpoints_by(usual, &[(&format!("GET {path}"), "g")]);
            assert_eq!(endpoints.group(b"GET", path.as_bytes()), Some("g"), "{path}");
        }
    }

    #[test]
    fn case_is_ignored_in_templates_and_paths_alike() {
        let rules = PathRules { ignore_case: true, ..PathRules::default() };
        let mut endpoints = endpoints_by(rules, &[("GET /Users/{ID}", "one")]);
        assert_eq!(endpoints.group(b"GET", b"/uSERS/X"), Some("one"));
        assert_eq!(endpoints.group(b"get", b"/Users/X"), None);
        let again = endpoints.add("GET /users/{id}", "other");
        assert_eq!(again, Err(TemplateError::Taken("one".into())));
    }

    #[test]
    fn head_is_get_unless_an_endpoint_of_head_matches() {
        let endpoints = endpoints(&[
            ("GET /a", "get"),
            ("GET /b", "get"),
            ("HEAD /{x}/c", "head"),
            ("HEAD /b", "head"),
        ]);
        for (path, group) in
            [("/a", Some("get")), ("/b", Some("head")), ("/b/c", Some("head")), ("/c", None)]
        {
            assert_eq!(endpoints.group(b"HEAD", path.as_bytes()), group, "{path}");
        }
        assert_eq!(endpoints.group(b"GET", b"/b"), Some("get"));
        assert_eq!(endpoints.group(b"GET", b"/b/c"), None);
        assert_eq!(endpoints.group(b"OPTIONS", b"/a"), None);
    }

    #[test]
    fn a_rest_is_one_segment_or_more() {
        for rules in [PathRules::default(), AS_SENT] {
            let endpoints =
                endpoints_by(rules, &[("GET /files/{*rest}", "files"), ("PUT /{*all}", "all")]);
            for path in ["/files/a", "/files/a/", "/files/a/b/c?d", "/files/%2F"] {
                assert_eq!(endpoints.group(b"GET", path.as_bytes()), Some("files"), "{path}");
                assert_eq!(endpoints.group(b"PUT", path.as_bytes()), Some("all"), "{path}");
            }
            for path in ["/files", "/files/", "/files//", "/file/a", "/", ""] {
                assert_eq!(endpoints.group(b"GET", path.as_bytes()), None, "{path}");
            }
            for path in ["/", "", "*", "//"] {
                assert_eq!(endpoints.group(b"PUT", path.as_bytes()), None, "{path}");
            }
            assert_eq!(endpoints.group(b"PUT", b"/files"), Some("all"));
        }
    }

    #[test]
    fn a_literal_goes_before_a_placeholder_and_both_before_a_rest_from_the_left() {
        let endpoints = endpoints(&[
            ("GET /{*rest}", "/*"),
            ("GET /a/{*rest}", "/a/*"),
            ("GET /{x}/b", "/x/b"),
            ("GET /{x}/{y}/{*rest}", "/x/y/*"),
            ("GET /a/{y}/c", "/a/y/c"),
            ("GET /a/b/{*rest}", "/a/b/*"),
        ]);
        for (path, group) in [
            ("/z", "/*"),
            ("/a", "/*"),
            ("/z/b", "/x/b"),
            ("/a/b", "/a/*"),
            ("/z/b/c", "/x/y/*"),
            ("/a/z/c", "/a/y/c"),
            ("/a/b/c", "/a/b/*"),
            ("/a/z/d", "/a/*"),
            ("/a/b/c/d/e", "/a/b/*"),
            ("/a/z/c/d", "/a/*"),
        ] {
            assert_eq!(endpoints.group(b"GET", path.as_bytes()), Some(group), "{path}");
        }
    }

    #[test]
    fn a_rest_beside_a_placeholder_is_no_conflict_and_twice_the_same_is_one() {
        let mut endpoints =
            endpoints(&[("GET /a/{x}", "one"), ("GET /a/{*x}", "rest"), ("GET /a", "a")]);
        for (path, group) in [("/a", "a"), ("/a/b", "one"), ("/a/b/c", "rest")] {
            assert_eq!(endpoints.group(b"GET", path.as_bytes()), Some(group), "{path}");
        }
        let again = endpoints.add("GET /a/{*other}", "other");
        assert_eq!(again, Err(TemplateError::Taken("rest".into())));
        let before = format!("GET {}/{{*x}}", "/a".repeat(MAX_BEFORE_REST + 1));
        assert_eq!(endpoints.add(&before, "g"), Err(TemplateError::Rest(MAX_BEFORE_REST + 1)));
        let path = format!("{}/{{*x}}", "/{x}".repeat(MAX_PLACEHOLDERS));
        endpoints.add(&format!("GET {path}"), "most").unwrap();
        assert_eq!(endpoints.group(b"GET", "/y".repeat(40).as_bytes()), Some("most"));
    }

    #[test]
    fn an_endpoint_of_several_methods_is_one_of_each() {
        let mut endpoints = endpoints(&[("GET,POST /a", "both"), ("PUT /a", "put")]);
        for (method, group) in [
            ("GET", Some("both")),
            ("POST", Some("both")),
            ("PUT", Some("put")),
            ("GET,POST", None),
        ] {
            assert_eq!(endpoints.group(method.as_bytes(), b"/a"), group, "{method}");
        }
        let again = endpoints.add("PATCH,POST /a", "other");
        assert_eq!(again, Err(TemplateError::Taken("both".into())));
        let twice = endpoints.add("GET,PUT,GET /b", "g");
        assert_eq!(twice, Err(TemplateError::Repeated("GET".into())));
    }

    #[test]
    fn a_method_goes_before_any_method() {
        let mut endpoints =
            endpoints(&[("* /a/b", "any"), ("GET /a/{x}", "get"), ("* /{*rest}", "rest")]);
        for (method, path, group) in [
            ("GET", "/a/b", "get"),
            ("HEAD", "/a/b", "get"),
            ("POST", "/a/b", "any"),
            ("whatever", "/a/b", "any"),
            ("GET", "/c", "rest"),
            ("POST", "/a/c", "rest"),
        ] {
            let found = endpoints.group(method.as_bytes(), path.as_bytes());
            assert_eq!(found, Some(group), "{method} {path}");
        }
        assert_eq!(endpoints.add("* /a/b", "g"), Err(TemplateError::Taken("any".into())));
    }

    #[test]
    fn the_same_endpoint_twice_is_an_error_that_names_the_first() {
        let mut endpoints = endpoints(&[("GET /users/{id}", "read_users")]);
        let again = endpoints.add("GET /users/{user_id}/", "other");
        assert_eq!(again, Err(TemplateError::Taken("read_users".into())));
    }

    #[test]
    fn placeholders_are_bounded_by_the_names_of_the_router() {
        let path = |count: usize| format!("GET {}", "/{x}".repeat(count));
        let mut endpoints = Endpoints::default();
        for count in 1..=MAX_PLACEHOLDERS {
            endpoints.add(&path(count), "g").unwrap();
            assert_eq!(
                endpoints.group(b"GET", "/x".repeat(count).as_bytes()),
                Some("g"),
                "{count}"
            );
        }
        for count in [MAX_PLACEHOLDERS + 1, 1000] {
            let added = endpoints.add(&path(count), "g");
            assert_eq!(added, Err(TemplateError::Placeholders(count)));
        }
        // A literal segment takes no name.
        endpoints.add(&format!("{}{}", path(MAX_PLACEHOLDERS), "/a".repeat(100)), "g").unwrap();
    }

    #[test]
    fn different_methods_are_bounded() {
        let mut endpoints = Endpoints::default();
        for at in 0..MAX_METHODS {
            endpoints.add(&format!("{} /", "M".repeat(at + 1)), "g").unwrap();
        }
        endpoints.add("M /users", "g").unwrap();
        assert_eq!(endpoints.add("GET /", "g"), Err(TemplateError::Methods("GET".into())));
    }

    /// The router splits its nodes at bytes, and its errors contain the text found there.
    #[test]
    fn every_template_is_found_or_rejected_beside_any_other() {
        let segments = ["", "a", "ab", "é", "è", "aé", "{x}", "%7B", ":", "p1", "_"];
        let mut endpoints = Endpoints::new(AS_SENT);
        let mut added = 0;
        for first in segments {
            for second in segments {
                for third in segments {
                    let path = format!("/{first}/{second}/{third}");
                    let taken = endpoints.add(&format!("GET {path}"), &path);
                    let found = endpoints.group(b"GET", path.replace("{x}", "other").as_bytes());
                    match taken {
                        Ok(()) => {
                            assert_eq!(found, Some(&*path));
                            added += 1;
                        }
                        Err(TemplateError::Taken(owner)) => assert_eq!(found, Some(&*owner)),
                        Err(error) => panic!("{path}: {error}"),
                    }
                }
            }
        }
        assert!(added > 1000, "{added}");
    }

    #[test]
    fn an_invalid_endpoint_is_an_error() {
        let mut endpoints = Endpoints::default();
        let forms = ["", "GET", "/users", "get /users", "GET users", "GET /users?x", "GET /a b"];
        for form in forms.into_iter().chain(["GET /a\u{fffd}"]) {
            assert_eq!(endpoints.add(form, "g"), Err(TemplateError::Form), "{form}");
        }
        for form in ["GET, POST /a", ",GET /a", "GET,,POST /a", "GET,* /a", "** /a", "GET|POST /a"]
        {
            assert_eq!(endpoints.add(form, "g"), Err(TemplateError::Form), "{form}");
        }
        for brace in [
            "GET /a{id}",
            "GET /{}",
            "GET /{*}",
            "GET /{*rest}/a",
            "GET /{*a}/{*b}",
            "GET /a{*rest}",
            "GET /{**a}",
            "GET /{a*}",
            "GET /{id}.json",
            "GET /a/*",
            "GET /{a}{b}",
        ] {
            assert_eq!(endpoints.add(brace, "g"), Err(TemplateError::Brace), "{brace}");
        }
    }
}
