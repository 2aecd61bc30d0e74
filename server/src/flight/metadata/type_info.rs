//! The types of columns as ODBC and JDBC call them.

use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

/// The types that columns of tables can have.
pub(super) fn all() -> Result<XdbcTypeInfoData> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for info in [
        whole("TINYINT", XdbcDataType::XdbcTinyint, 3),
        whole("SMALLINT", XdbcDataType::XdbcSmallint, 5),
        whole("INT", XdbcDataType::XdbcInteger, 10),
        whole("BIGINT", XdbcDataType::XdbcBigint, 19),
        binary_float("FLOAT", XdbcDataType::XdbcReal, 24),
        binary_float("DOUBLE", XdbcDataType::XdbcDouble, 53),
        decimal(),
        plain("BOOLEAN", XdbcDataType::XdbcBit, 1),
        XdbcTypeInfo { case_sensitive: true, searchable: Searchable::Full, ..quoted("STRING", XdbcDataType::XdbcVarchar, i32::MAX, "'") },
        quoted("BINARY", XdbcDataType::XdbcVarbinary, i32::MAX, "X'"),
        datetime("DATE", XdbcDataType::XdbcDate, 10, "DATE '", XdbcDatetimeSubcode::XdbcSubcodeYear),
        datetime("TIMESTAMP", XdbcDataType::XdbcTimestamp, 32, "TIMESTAMP '", XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone),
        datetime("TIMESTAMP_NTZ", XdbcDataType::XdbcTimestamp, 26, "TIMESTAMP '", XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
    ] {
        types.append(info);
    }
    types.build()
}

fn plain(name: &str, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_string(),
        data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Basic,
        auto_increment: Some(false),
        local_type_name: Some(name.to_string()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

fn whole(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        fixed_prec_scale: true,
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        num_prec_radix: Some(10),
        ..plain(name, data_type, digits)
    }
}

fn binary_float(name: &str, data_type: XdbcDataType, bits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo { unsigned_attribute: Some(false), num_prec_radix: Some(2), ..plain(name, data_type, bits) }
}

fn decimal() -> XdbcTypeInfo {
    XdbcTypeInfo {
        create_params: Some(vec!["precision".to_string(), "scale".to_string()]),
        unsigned_attribute: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(38),
        num_prec_radix: Some(10),
        ..plain("DECIMAL", XdbcDataType::XdbcDecimal, 38)
    }
}

fn quoted(name: &str, data_type: XdbcDataType, size: i32, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo { literal_prefix: Some(prefix.to_string()), literal_suffix: Some("'".to_string()), ..plain(name, data_type, size) }
}

fn datetime(name: &str, data_type: XdbcDataType, size: i32, prefix: &str, subcode: XdbcDatetimeSubcode) -> XdbcTypeInfo {
    XdbcTypeInfo { sql_data_type: XdbcDataType::XdbcDatetime, datetime_subcode: Some(subcode), ..quoted(name, data_type, size, prefix) }
}
