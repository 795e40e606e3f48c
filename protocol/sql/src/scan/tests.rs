use super::*;

/// The code of every statement, pieces joined by a blank.
fn split(sql: &str) -> Result<Vec<String>> {
    let mut scanner = Scanner::new(sql);
    let mut statements = vec![String::new()];
    while let Some(piece) = scanner.next_piece()? {
        match (piece, statements.last_mut()) {
            (Piece::Semicolon, _) => statements.push(String::new()),
            (Piece::Code { text, .. }, Some(last)) => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(text);
            }
            (Piece::Code { .. }, None) => {}
        }
    }
    statements.retain(|statement| !statement.is_empty());
    assert_eq!(Scanner::new(sql).count_statements()?, statements.len());
    Ok(statements)
}

#[test]
fn semicolons_count_outside_quotes_and_comments_only() {
    for (sql, expected) in [
        ("a; b ;c", vec!["a", "b", "c"]),
        (";;a;;", vec!["a"]),
        ("", vec![]),
        (" -- x;y\n", vec![]),
        ("/* ; /* ; */ ; */ a", vec!["a"]),
        ("a/**/b--c\nd", vec!["a b d"]),
        ("'a;b' ; \"c;d\"", vec!["'a;b'", "\"c;d\""]),
        ("'it''s;'';' ; x", vec!["'it''s;'';'", "x"]),
        ("E'\\';' ; x", vec!["E'\\';'", "x"]),
        ("'\\' ; x", vec!["'\\'", "x"]),
        ("namE'\\' ; x", vec!["namE'\\'", "x"]),
        ("$$a;b$$ ; $q$ ; $$ ; $q$", vec!["$$a;b$$", "$q$ ; $$ ; $q$"]),
        ("$1;$2", vec!["$1", "$2"]),
        ("a$b$;c$b$", vec!["a$b$", "c$b$"]),
        ("a\u{a0}b", vec!["a b"]),
    ] {
        assert_eq!(split(sql).expect(sql), expected, "{sql}");
    }
}

#[test]
fn what_has_no_end_is_named_with_its_beginning() {
    for (sql, what, line, column) in [
        ("a 'b", "string", 1, 3),
        ("a\n  \"b", "quoted name", 2, 3),
        ("a /* /* */", "comment", 1, 3),
        ("é $x$ ; $y$", "string", 1, 3),
        ("E'\\'", "string", 1, 2),
    ] {
        let error = split(sql).expect_err(sql);
        assert_eq!(error.code, ErrorCode::InvalidSql);
        assert!(error.message.contains(what), "{sql}: {}", error.message);
        assert_eq!(error.position, Some(Position { line, column }), "{sql}");
    }
}

#[test]
fn control_characters_stand_in_strings_only() {
    for sql in ["a\0", "\u{1b}", "-- \0\n", "/* \u{7} */", "\"a\0\"", "a\u{c}b", "a\u{85}b"] {
        let error = split(sql).expect_err(sql);
        assert!(error.message.starts_with("control character U+00"), "{sql:?}: {}", error.message);
    }
    for sql in ["'\0'", "$$\u{7}$$", "E'\u{1}'", "a\tb\r\nc"] {
        assert!(split(sql).is_ok(), "{sql:?}");
    }
}

#[test]
fn long_code_comes_in_pieces_and_long_strings_do_not() {
    let list = vec!["1"; 5000].join(",");
    let string = format!("'{}'", "x,".repeat(10_000));
    for (sql, pieces) in [(list.as_str(), 3), (string.as_str(), 1)] {
        let mut scanner = Scanner::new(sql);
        let mut texts = Vec::new();
        while let Some(Piece::Code { text, whole, .. }) = scanner.next_piece().expect("code") {
            assert!(whole);
            texts.push(text);
        }
        assert_eq!(texts.len(), pieces);
        assert_eq!(texts.concat(), sql);
    }
    let sum = "1+".repeat(2 << 20);
    let mut scanner = Scanner::new(&sum);
    let piece = scanner.next_piece().expect("code");
    assert!(matches!(piece, Some(Piece::Code { text, whole: false, .. }) if text.len() == HARD_PIECE_BYTES));
}
