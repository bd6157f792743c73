//! Sources that are not as sources should be, and names that are not as names should be.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::tree::Tree;

/// What compiles, by file name. A file named `.py` is left out: only `compileall` takes it for a source.
const GOOD: &[(&[u8], &[u8])] = &[
    (b"plain.py", b"x = 1\n"),
    (b"empty.py", b""),
    (b"no_newline.py", b"x = 1"),
    (b"carriage_returns.py", b"x = 1\r\ny = '''a\r\nb\r'''\rz = 3\r\n"),
    (b"form_feed.py", b"\x0cx = 1\n"),
    (b"bom.py", b"\xef\xbb\xbfx = '\xc3\xa4'\n"),
    (b"bom_and_cookie.py", b"\xef\xbb\xbf# coding: utf-8\nx = '\xc3\xa4'\n"),
    (b"latin_1.py", b"# -*- coding: latin-1 -*-\nx = '\xe4'; \xe4 = x\n"),
    (b"second_line_cookie.py", b"#!/usr/bin/python3\n# vim: set fileencoding=cp1252 :\nx = '\x80'\n"),
    (b"utf_7.py", b"# coding: utf-7\nx = '+AOQ-'\n"),
    (b"surrogate.py", b"x = '\\ud800'; y = '\\udfff\\ud800'\n"),
    (b"wide.py", "x = '\u{10ffff}'; 变量 = 'ﬁ'; ﬁ = 2\n".as_bytes()),
    (b"constants.py", b"a = 0.0, -0.0, 0j, -0j, 1, True, 1.0, None, ..., 1e999, -1e999, 1e999 - 1e999\n"),
    (b"sets.py", b"def f(x): return x in {1, 2.0, 'a', b'a', None, (1, -0.0)}\n"),
    (b"big_integer.py", b"x = 1 << 4000; y = -(1 << 31), 1 << 31, (1 << 63) - 1\n"),
    (b"assertions.py", b"'''Doc.'''\ndef f(x):\n    'More.'\n    assert x, 'why'\n    return __debug__\n"),
    (b"annotations.py", b"from __future__ import annotations\nx: not_there[1] = 2\n"),
    (
        b"closures.py",
        b"def f(a):\n    b = 1\n    class C:\n        c = a\n        def g(self): return b, __class__\n",
    ),
    (b"generators.py", b"async def f():\n    return [x async for x in y if await x]\n"),
    (b"handlers.py", b"try:\n    x\nexcept* A as e:\n    pass\nfinally:\n    y\n"),
    (b"match.py", b"match x:\n    case {'a': [1, *_], **rest} | A(b=rest): pass\n"),
    (b"warns.py", b"x = 1 is 1\ny = '\\d'\nassert (x, 'y')\n"),
    (b".hidden.py", b"x = 1\n"),
    (b"-q.py", b"x = 1\n"),
    (b"--help.py", b"x = 1\n"),
    (b"foo.py", b"x = 1\n"),
    (b"foo.bar.py", b"x = 2\n"),
    (b"foo.opt-1.py", b"x = 3\n"),
    (b"a[1].py", b"x = 1\n"),
    (b"*?.py", b"x = 1\n"),
    (b"new\nline.py", b"x = 1\n"),
    (b"not\xffutf-8.py", b"x = 1\n"),
    (b"\xe2\x80\xae right to left \xc3\xa4.py", b"x = 1\n"),
    (b"deep/er/__init__.py", b""),
    (b"not\xfea directory/inside.py", b"def f(): pass\n"),
    (b"UPPER.PY.py", b"x = 1\n"),
];

/// What does not.
const BAD: &[(&[u8], &[u8])] = &[
    (b"bad_syntax.py", b"x = 1\ny = = 2\n"),
    (b"bad_print.py", b"print 'Python 2'\n"),
    (b"bad_cookie.py", b"# coding: no-such-encoding\n"),
    (b"bad_cookie_no_text.py", b"# coding: hex\nx = 1\n"),
    (b"bad_bom_and_cookie.py", b"\xef\xbb\xbf# coding: latin-1\nx = 1\n"),
    (b"bad_utf_8.py", b"x = '\xff'\n"),
    (b"bad_utf_16.py", b"\xff\xfex\0 \0=\0 \x001\0\n\0"),
    (b"bad_nul.py", b"x = 1\0\n"),
    (b"bad_nul_in_comment.py", b"# \0\nx = 1\n"),
    (b"bad_only_nuls.py", &[0; 4096]),
    (b"bad_tabs.py", b"if x:\n\ty\n        z\n"),
    (b"bad_dedent.py", b"if x:\n        y\n    z\n"),
    (b"bad_string.py", b"x = '''\n"),
    (b"bad_bracket.py", b"x = (\n"),
    (b"bad_return.py", b"return 1\n"),
    (b"bad_await.py", b"async def f():\n    def g(): await x\n"),
    (b"bad_nonlocal.py", b"def f():\n    nonlocal x\n"),
    (b"bad_future.py", b"from __future__ import braces\n"),
    (b"bad_escape.py", b"x = '\\N{no such name}'\n"),
    (b"bad_name.py", "x€ = 1\n".as_bytes()),
    (b"bad_binary.py", b"\x7fELF\x02\x01\x01\0\0\0"),
    (b"bad_not\xfdutf-8.py", b"x = = 1\n"),
    (b"bad\nnew line.py", b"x = = 1\n"),
    (b"-bad.py", b"x = = 1\n"),
];

#[test]
fn an_odd_tree_is_compiled_as_by_compileall() {
    let tree = Tree::empty();
    let write = |name: &[u8], content: &[u8]| {
        let path = tree.path().join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    for (name, content) in GOOD.iter().chain(BAD) {
        write(name, content);
    }
    // Far beyond what the parser or the compiler takes, and far below.
    let nested = |open: &str, close: &str, n| format!("x = {}1{}\n", open.repeat(n), close.repeat(n));
    for (name, content) in [
        ("tuples.py", nested("(", ",)", 90)),
        ("lambdas.py", nested("lambda: ", "", 50)),
        ("many_names.py", (0..70_000).map(|n| format!("v{n} = {n}\n")).collect()),
        ("long_line.py", format!("x = '{}'\n", "ä".repeat(1_000_000))),
        ("far_jump.py", format!("while x:\n{}", "    y = z\n".repeat(40_000))),
        ("bad_parentheses.py", nested("(", ")", 1_000)),
        ("bad_minus.py", nested("-", "", 100_000)),
        ("bad_attributes.py", nested("", ".a", 100_000)),
        ("bad_sum.py", nested("", "+a", 100_000)),
        ("bad_indent.py", (0..200).map(|n| format!("{}if x:\n", " ".repeat(n))).collect()),
    ] {
        write(name.as_bytes(), content.as_bytes());
    }
    // What is no source, or is one under another name.
    symlink("plain.py", tree.path().join("link.py")).unwrap();
    symlink("gone", tree.path().join("dangling.py")).unwrap();
    symlink("deep", tree.path().join("linked_directory")).unwrap();
    write(b"directory.py/inside.py", b"x = 1\n");
    write(b"note.txt", b"x = 1\n");

    let modules = ["plain", "surrogate", "constants", "assertions", "wide", "warns", "link", "deep.er"];
    let verdict = tree.is_compiled_as_by_compileall("odd", &modules);
    assert_eq!(verdict.sources, GOOD.len() + BAD.len() + 10 + 2);
    assert_eq!(verdict.without.len(), (BAD.len() + 5) * 3, "{:#?}", verdict.without);
    for (source, _) in &verdict.without {
        assert!(source.contains("bad"), "{source}");
    }
}
