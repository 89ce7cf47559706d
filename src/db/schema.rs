//! The tables of `migrations/` for diesel. A test compares them with the catalogs of a migrated database.

diesel::table! {
    owner (owner_id) {
        owner_id -> Uuid,
    }
}

diesel::table! {
    enterprise (id) {
        id -> Uuid,
        name -> Text,
        oes_licensed -> Bool,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    client (id) {
        id -> Uuid,
        enterprise_id -> Uuid,
        name -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    partner (id) {
        id -> Uuid,
        enterprise_id -> Uuid,
        name -> Text,
        institution_identifier -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    connection (id) {
        id -> Uuid,
        client_id -> Uuid,
        partner_id -> Uuid,
        client_enterprise_id -> Uuid,
        partner_enterprise_id -> Uuid,
        name -> Text,
        partners_connection_id -> Text,
        mode -> Text,
        allocations_enabled -> Bool,
        deallocations_enabled -> Bool,
        allocations_disabled_reason -> Nullable<Text>,
        deallocations_disabled_reason -> Nullable<Text>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    request_key (owner_id, rpc, request_id) {
        owner_id -> Uuid,
        rpc -> Text,
        request_id -> Text,
        content_hash -> Bytea,
        record_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    account (owner_id, account_id, unit) {
        owner_id -> Uuid,
        account_id -> Uuid,
        unit -> Text,
        available -> Numeric,
        held -> Numeric,
        version -> BigInt,
        reservation_count -> BigInt,
    }
}

diesel::table! {
    entry (owner_id, account_id, unit, time, version) {
        owner_id -> Uuid,
        account_id -> Uuid,
        time -> Timestamptz,
        version -> BigInt,
        reservation_count -> BigInt,
        cause_id -> Uuid,
        unit -> Text,
        cause -> Text,
        available_delta -> Numeric,
        held_delta -> Numeric,
        available -> Numeric,
        held -> Numeric,
    }
}

diesel::table! {
    allocation (owner_id, id) {
        owner_id -> Uuid,
        id -> Uuid,
        connection_id -> Uuid,
        client_id -> Uuid,
        partner_id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        expire_time -> Nullable<Timestamptz>,
        opened_custody_version -> BigInt,
        opened_connection_version -> BigInt,
        closed_custody_version -> Nullable<BigInt>,
        closed_connection_version -> Nullable<BigInt>,
        quantity -> Numeric,
        #[sql_name = "type"]
        kind -> Text,
        status -> Text,
        currency -> Text,
        client_external_id -> Text,
        partner_external_id -> Nullable<Text>,
        initiated_by -> Text,
        notes -> Nullable<Text>,
        reason -> Nullable<Text>,
        closed_cause -> Nullable<Text>,
        content_hash -> Bytea,
    }
}

diesel::table! {
    adjustment (owner_id, id) {
        owner_id -> Uuid,
        id -> Uuid,
        external_id -> Text,
        currency -> Text,
        quantity -> Numeric,
        reason -> Text,
        initiated_by -> Text,
        content_hash -> Bytea,
        custody_version -> BigInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    bucket (owner_id) {
        owner_id -> Uuid,
        tenant -> Uuid,
        id -> Text,
        name -> Nullable<Text>,
        description -> Nullable<Text>,
        status -> Text,
        usage_type -> Nullable<Text>,
        party_account_id -> Nullable<Text>,
        unit -> Text,
        valid_from -> Nullable<Timestamptz>,
        valid_to -> Nullable<Timestamptz>,
        details -> Jsonb,
        initiated_by -> Text,
        content_hash -> Bytea,
        opened_amount -> Numeric,
        opened_version -> BigInt,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        status_since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    bucket_key (owner_id, rpc, request_id) {
        owner_id -> Uuid,
        rpc -> Text,
        request_id -> Text,
        content_hash -> Bytea,
        own_version -> BigInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    bucket_product (owner_id, product_id) {
        owner_id -> Uuid,
        product_id -> Text,
        tenant -> Uuid,
        bucket_id -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    bucket_update (owner_id, version) {
        owner_id -> Uuid,
        version -> BigInt,
        request_id -> Nullable<Text>,
        content_hash -> Bytea,
        own_version -> BigInt,
        initiated_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    bucket_action (owner_id, id) {
        owner_id -> Uuid,
        id -> Uuid,
        tenant -> Uuid,
        bucket_id -> Text,
        party_account_id -> Nullable<Text>,
        #[sql_name = "type"]
        kind -> Text,
        status -> Text,
        request_id -> Text,
        content_hash -> Bytea,
        unit -> Text,
        amount -> Numeric,
        remaining_amount -> Nullable<Numeric>,
        expire_time -> Nullable<Timestamptz>,
        reserve_id -> Nullable<Uuid>,
        returned_amount -> Nullable<Numeric>,
        receiver_owner_id -> Nullable<Uuid>,
        receiver_bucket_id -> Nullable<Text>,
        receiver_version -> Nullable<BigInt>,
        cost_amount -> Nullable<Numeric>,
        cost_owner -> Nullable<Text>,
        own_version -> BigInt,
        closed_cause -> Nullable<Text>,
        closed_by -> Nullable<Uuid>,
        details -> Jsonb,
        initiated_by -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    cas_allocation (owner_id, id) {
        owner_id -> Uuid,
        id -> Uuid,
        created_by -> Text,
        created_at -> Timestamptz,
        last_modified_by -> Text,
        last_modified_at -> Timestamptz,
        version -> BigInt,
        deal_id -> Nullable<Text>,
        tranche_id -> Nullable<Text>,
        source_id -> Nullable<Text>,
        investor_account_id -> Nullable<Text>,
        indication_id -> Nullable<Text>,
        company_id -> Nullable<BigInt>,
        source_row_version -> Nullable<Text>,
        order_status -> Nullable<Text>,
        indication_group_id -> Nullable<Text>,
        status_messages -> Jsonb,
        value_type -> Nullable<Text>,
        value_amount -> Nullable<Numeric>,
        override_type -> Nullable<Text>,
        override_amount -> Nullable<Numeric>,
        distribution_type -> Nullable<Text>,
        comments -> Jsonb,
        is_affirmed -> Nullable<Bool>,
        affirmed_by -> Nullable<Text>,
        affirmed_at -> Nullable<Timestamptz>,
        content_hash -> Bytea,
    }
}

diesel::table! {
    catalogue_company (owner_id) {
        owner_id -> Uuid,
        company_id -> BigInt,
        name -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_version_max -> Nullable<BigInt>,
    }
}

diesel::table! {
    catalogue_allocation (owner_id, allocation_id) {
        owner_id -> Uuid,
        allocation_id -> BigInt,
        msrp_price -> Text,
        msrp_currency -> Text,
        unit_price -> Text,
        unit_currency -> Text,
        image -> Text,
        translations -> Jsonb,
        languages -> Array<Text>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        first_version -> Nullable<BigInt>,
    }
}

diesel::table! {
    sealed_period (end_time) {
        start_time -> Timestamptz,
        end_time -> Timestamptz,
        previous_digest -> Nullable<Bytea>,
        digest -> Bytea,
        format -> Integer,
        owners -> BigInt,
        entries -> BigInt,
        sealed_at -> Timestamptz,
    }
}

diesel::table! {
    archived_period (end_time) {
        end_time -> Timestamptz,
        entries -> BigInt,
        records -> BigInt,
        manifest_digest -> Bytea,
        archived_at -> Timestamptz,
    }
}

diesel::table! {
    sealed_owner (owner_id, end_time) {
        owner_id -> Uuid,
        end_time -> Timestamptz,
        digest -> Bytea,
        entries -> BigInt,
    }
}

diesel::table! {
    carry_forward (owner_id, account_id, unit, end_time) {
        owner_id -> Uuid,
        account_id -> Uuid,
        end_time -> Timestamptz,
        version -> BigInt,
        time -> Timestamptz,
        reservation_count -> BigInt,
        entries -> BigInt,
        unit -> Text,
        available -> Numeric,
        held -> Numeric,
        digest -> Bytea,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    owner,
    enterprise,
    client,
    partner,
    connection,
    request_key,
    account,
    entry,
    allocation,
    adjustment,
    bucket,
    bucket_key,
    bucket_product,
    bucket_update,
    bucket_action,
    cas_allocation,
    catalogue_company,
    catalogue_allocation,
    archived_period,
    sealed_period,
    sealed_owner,
    carry_forward,
);
