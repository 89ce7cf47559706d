//! Limits and times of the server.

use std::time::Duration;

use crate::limits::{
    ANSWER_BYTES_UNDER_WAY_MAX, BODY_STALL_MAX, CALL_MAX, CALLS_MAX_DEFAULT, CONNECTION_AGE_MAX,
    CONNECTION_GOAWAY_GRACE, CONNECTION_IDLE_MAX, CONNECTION_PREFACE_MAX,
    HEALTH_CONNECTION_IDLE_MAX, HEALTH_CONNECTIONS_MAX, HEALTH_CONNECTIONS_PER_PEER_MAX,
    HEALTH_STREAMS_MAX, REQUEST_BYTES_UNDER_WAY_MAX, TLS_HANDSHAKE_MAX,
};
use crate::server::connection::ConnectionLimits;

/// Limits and times of the server. The help of `earmark serve` says what happens when one is too high or too low.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How many calls are in progress at the same time, from their complete request to the last byte of their answer. A
    /// principal has at most as many as it leaves free to others: half of them if it is alone. The next one is answered
    /// RESOURCE_EXHAUSTED without waiting. Health and reflection have limits of their own.
    pub calls_max: usize,
    /// How many bytes of requests are received or handled at the same time. A principal takes at most a quarter; what
    /// finds no room is answered RESOURCE_EXHAUSTED. Small requests that come in one piece are not counted.
    pub request_bytes_max: usize,
    /// How many bytes of answers wait to be sent at the same time. A principal takes at most a quarter; what finds no
    /// room is answered RESOURCE_EXHAUSTED.
    pub answer_bytes_max: usize,
    /// How long a request's body may bring nothing; after that the call ends with DEADLINE_EXCEEDED.
    pub body_stall_max: Duration,
    /// The longest time that a call may take; a call with a shorter deadline of its client ends at that one. RPCs that
    /// the scope table marks `long`, health and reflection are exempt.
    pub call_max: Duration,
    /// How many client connections are open at the same time; further ones stay in the listening socket's backlog.
    pub connections_max: usize,
    /// How many of them one peer may have, an IPv4 address or an IPv6 network of 64 bits; further ones are closed at once.
    /// Up to half of all, a peer also has at most as many as it leaves free to others.
    pub connections_per_peer_max: usize,
    /// The age, give or take a tenth, at which a connection gets GOAWAY.
    pub connection_age_max: Duration,
    /// How long a connection may be without a call before it gets GOAWAY.
    pub connection_idle_max: Duration,
    /// How long the handshake of TLS may take, if there is one. The command line has no option for it.
    pub handshake_max: Duration,
    /// How long a new connection may take to send the preface of HTTP/2. The command line has no option for it.
    pub preface_max: Duration,
    /// How long a connection without a call stays open after GOAWAY, at a shutdown too, if its client does not end it.
    /// The command line has no option for it.
    pub goaway_grace: Duration,
    /// How many calls one connection carries at the same time (HTTP/2's SETTINGS_MAX_CONCURRENT_STREAMS). Clients
    /// delay further ones until one has ended.
    pub streams_max: u32,
    /// How long the server still takes new calls after health has changed to NOT_SERVING at a shutdown.
    pub lame_duck: Duration,
    /// How long calls in progress may continue after the lame duck's time; their connections are closed then.
    pub drain_max: Duration,
    /// Whether gRPC reflection is served, v1 and v1alpha.
    pub reflection: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            calls_max: CALLS_MAX_DEFAULT,
            request_bytes_max: REQUEST_BYTES_UNDER_WAY_MAX,
            answer_bytes_max: ANSWER_BYTES_UNDER_WAY_MAX,
            body_stall_max: BODY_STALL_MAX,
            call_max: CALL_MAX,
            connections_max: 10_000,
            connections_per_peer_max: 5_000,
            connection_age_max: CONNECTION_AGE_MAX,
            connection_idle_max: CONNECTION_IDLE_MAX,
            handshake_max: TLS_HANDSHAKE_MAX,
            preface_max: CONNECTION_PREFACE_MAX,
            goaway_grace: CONNECTION_GOAWAY_GRACE,
            streams_max: 1_024,
            lame_duck: Duration::from_secs(5),
            drain_max: Duration::from_secs(25),
            reflection: true,
        }
    }
}

impl ServerSettings {
    /// Those of one connection.
    pub(super) fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            streams_max: self.streams_max,
            handshake_max: self.handshake_max,
            preface_max: self.preface_max,
            age_max: self.connection_age_max,
            idle_max: self.connection_idle_max,
            goaway_grace: self.goaway_grace,
        }
    }
    /// Those of the port that serves health alone: small, so that whoever reaches it can neither use up the process nor
    /// keep the probes of others out.
    pub(super) fn of_health_port(&self) -> Self {
        Self {
            connections_max: HEALTH_CONNECTIONS_MAX,
            connections_per_peer_max: HEALTH_CONNECTIONS_PER_PEER_MAX,
            connection_idle_max: HEALTH_CONNECTION_IDLE_MAX,
            streams_max: HEALTH_STREAMS_MAX,
            ..self.clone()
        }
    }
}
