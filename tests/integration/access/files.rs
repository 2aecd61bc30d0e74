//! Files: only below what was granted, by whatever path.

use orrery_engine::Blame;

use super::{Lake, kept_out, one, refused, rows_of, said};

#[tokio::test]
async fn files_are_read_where_they_were_granted() {
    let lake = Lake::new().await;
    let (dir, files) = (lake.dir.path().display().to_string(), lake.files());
    lake.all(&format!("COPY (SELECT 1 AS a) TO '{files}/in/one.parquet' STORED AS PARQUET")).await;
    lake.all(&format!("COPY (SELECT 7 AS secret) TO '{dir}/elsewhere/secret.parquet' STORED AS PARQUET")).await;
    let grants = format!("GRANT READ FILES, WRITE FILES ON LOCATION '{files}' TO {{u}}; GRANT SELECT ON TABLE dev.s.t TO {{u}}");
    let ann = lake.user_with("ann", &grants).await;
    for path in [
        format!("{files}/in/one.parquet"),
        format!("{files}/in"),
        format!("{files}/**/*.parquet"),
        format!("file://{files}/in/one.parquet"),
    ] {
        assert_eq!(one(&ann, &format!("SELECT a FROM read_parquet('{path}')")).await, "1", "{path}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(format!("{dir}/elsewhere"), format!("{files}/link")).unwrap();
        std::os::unix::fs::symlink(format!("{dir}/elsewhere/secret.parquet"), format!("{files}/file_link.parquet")).unwrap();
        std::os::unix::fs::symlink(format!("{dir}/warehouse/dev/s/t"), format!("{files}/table_link")).unwrap();
    }
    let encoded = format!("file://{files}/%2e%2e/elsewhere/secret.parquet");
    let twice = format!("file://{files}/%252e%252e/elsewhere/secret.parquet");
    for path in [
        format!("{dir}/elsewhere/secret.parquet"),
        format!("{files}/../elsewhere/secret.parquet"),
        format!("{files}/in/../../elsewhere/*.parquet"),
        format!("file://{files}/../elsewhere/secret.parquet"),
        encoded,
        twice,
        format!("{files}/link/secret.parquet"),
        format!("{files}/link/*.parquet"),
        format!("{files}/file_link.parquet"),
        format!("{files}/table_link/*.parquet"),
        format!("{files}x/one.parquet"),
        format!("{dir}/warehouse/dev/s/t/*.parquet"),
        format!("{dir}/warehouse/dev/s/t"),
        format!("{dir}/warehouse/system/access/users/*.parquet"),
        "/etc/passwd".to_string(),
        "s3://bucket/x.parquet".to_string(),
        "http://169.254.169.254/latest/meta-data".to_string(),
    ] {
        for function in ["read_parquet", "read_files", "read_csv"] {
            let error = refused(&ann, &format!("SELECT * FROM {function}('{path}')")).await;
            let is_refused = error.blame == Blame::Rights || error.message.contains("..") || error.message.contains("no file matches");
            assert!(is_refused && !said(&error).contains("secret BIGINT"), "{path}: {}", said(&error));
        }
    }
    // Existing or not: the same words.
    let there = refused(&ann, &format!("SELECT * FROM read_parquet('{dir}/elsewhere/secret.parquet')")).await;
    let nowhere = refused(&ann, &format!("SELECT * FROM read_parquet('{dir}/elsewhere/nothing.parquet')")).await;
    assert_eq!(said(&there).replace("secret", "nothing"), said(&nowhere));
    // A location above the warehouse does not open it.
    lake.all(&format!("GRANT READ FILES, WRITE FILES ON LOCATION '{dir}' TO ann")).await;
    assert_eq!(one(&ann, &format!("SELECT secret FROM read_parquet('{dir}/elsewhere/secret.parquet')")).await, "7");
    for path in [format!("{dir}/warehouse/dev/s/t/*.parquet"), format!("{dir}/**/*.parquet"), format!("{files}/table_link/*.parquet")] {
        let error = refused(&ann, &format!("SELECT * FROM read_parquet('{path}')")).await;
        assert!(error.blame == Blame::Rights || error.message.contains("no file matches"), "{path}: {error}");
    }
    for target in ["warehouse/dev/s/t/x.parquet", "warehouse/system/access/x.parquet", "files/table_link/x.parquet"] {
        let error = refused(&ann, &format!("COPY (SELECT 1 AS a) TO '{dir}/{target}' STORED AS PARQUET")).await;
        assert_eq!(error.blame, Blame::Rights, "{target}: {error}");
    }
    // Administrators look into tables, but not into what holds the hashes of passwords.
    rows_of(&lake.admin, &format!("SELECT * FROM read_parquet('{dir}/warehouse/dev/s/t/*.parquet')")).await.unwrap();
    kept_out(&lake.admin, &format!("SELECT * FROM read_parquet('{dir}/warehouse/system/access/users/*.parquet')")).await;
}
