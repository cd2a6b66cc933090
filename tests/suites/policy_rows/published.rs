//! The published limits, as the test has them: written from the list, not from the policy file.

/// A group, one way to reach it, and its limits per second and per minute.
pub(crate) type Row = (&'static str, &'static [&'static str], u64, u64);

pub(crate) const ENTERPRISE: [Row; 11] = [
    ("read_organizations", &["GET /api/v2/organizations", "GET /api/v2/organizations/o1"], 10, 100),
    ("read_user_organizations", &["GET /api/v2/users/auth0%7C1/organizations"], 40, 500),
    ("get_organization_by_name", &["GET /api/v2/organizations/name/acme"], 20, 200),
    (
        "write_organizations",
        &[
            "POST /api/v2/organizations",
            "PATCH /api/v2/organizations/o1",
            "DELETE /api/v2/organizations/o1",
        ],
        5,
        150,
    ),
    (
        "read_organization_members",
        &["GET /api/v2/organizations/o1/members", "GET /api/v2/organizations/o1/invitations"],
        40,
        500,
    ),
    (
        "write_organization_members",
        &[
            "POST /api/v2/organizations/o1/members",
            "POST /api/v2/organizations/o1/invitations",
            "DELETE /api/v2/organizations/o1/members",
            "DELETE /api/v2/organizations/o1/invitations/i1",
        ],
        20,
        200,
    ),
    (
        "read_organization_member_invitation",
        &["GET /api/v2/organizations/o1/invitations/i1"],
        20,
        200,
    ),
    ("read_organization_member_roles", &["GET /api/v2/organizations/o1/members/u1/roles"], 20, 200),
    (
        "write_organization_member_roles",
        &[
            "POST /api/v2/organizations/o1/members/u1/roles",
            "DELETE /api/v2/organizations/o1/members/u1/roles",
        ],
        20,
        200,
    ),
    (
        "read_organization_connections",
        &[
            "GET /api/v2/organizations/o1/enabled_connections/",
            "GET /api/v2/organizations/o1/enabled_connections/c1",
        ],
        10,
        100,
    ),
    (
        "write_organization_connections",
        &[
            "POST /api/v2/organizations/o1/enabled_connections",
            "PATCH /api/v2/organizations/o1/enabled_connections/c1",
            "DELETE /api/v2/organizations/o1/enabled_connections",
        ],
        5,
        150,
    ),
];

pub(crate) const SELF_SERVICE: [Row; 6] = [
    (
        "read_users",
        &["GET /api/v2/users", "GET /api/v2/users-by-email", "GET /api/v2/users/u1"],
        40,
        500,
    ),
    (
        "write_users",
        &[
            "POST /api/v2/users",
            "POST /api/v2/users/u1/identities",
            "PATCH /api/v2/users/u1",
            "DELETE /api/v2/connections/c1/users",
            "DELETE /api/v2/users/u1/identities/google/u2",
            "DELETE /api/v2/users/u1",
        ],
        20,
        200,
    ),
    (
        "read_logs",
        &["GET /api/v2/logs", "GET /api/v2/logs/l1", "GET /api/v2/users/u1/logs"],
        10,
        100,
    ),
    ("read_clients", &["GET /api/v2/clients", "GET /api/v2/clients/c1"], 5, 100),
    ("read_connections", &["GET /api/v2/connections", "GET /api/v2/connections/c1"], 10, 100),
    (
        "write_device_credentials",
        &["POST /api/v2/device-credentials", "DELETE /api/v2/device-credentials/d1"],
        5,
        100,
    ),
];

/// Type, per second, per minute.
pub(crate) const TENANTS: [(&str, u64, u64); 8] = [
    ("free", 10, 120),
    ("trial", 10, 120),
    ("self_service", 50, 1000),
    ("startup", 50, 1000),
    ("enterprise_production", 50, 1000),
    ("enterprise_non_production", 2, 10),
    ("a type nobody has heard of", 10, 120),
    ("", 10, 120),
];
