# py3compile and py3clean, and their pages, are links to ours while pyc-txn is configured; what other packages install
# by these names goes aside. The links are not files of the package, and dpkg-divert renames nothing: between a
# diversion's rename and the unpacking of a package's own file the name would be missing, and again between the
# removal of that file and the rename back. Here each name changes hands in one rename(2), so that scripts of other
# packages always find a program. A script that was stopped half-way is run again: what is on disk and in
# dpkg's list of diversions says what is left to do.

each_diversion() { # FUNCTION: is called with the name, the place aside, and the link's text
    man=/usr/share/man/man1
    "$1" /usr/bin/py3compile /usr/bin/py3compile.distrib pyc-txn
    "$1" /usr/bin/py3clean /usr/bin/py3clean.distrib pyc-txn
    "$1" $man/py3compile.1.gz $man/py3compile.distrib.1.gz pyc-txn-py3compile.1.gz
    "$1" $man/py3clean.1.gz $man/py3clean.distrib.1.gz pyc-txn-py3clean.1.gz
}

is_there() { # FILE
    [ -e "$1" ] || [ -L "$1" ]
}

is_our_link() { # FILE LINK-TEXT
    [ -L "$1" ] && [ "$(readlink "$1")" = "$2" ]
}

take_over() { # NAME ASIDE OURS
    name=$DPKG_ROOT$1
    aside=$DPKG_ROOT$2
    # Pages may have been excluded from the installation.
    is_there "${name%/*}/$3" || return 0
    owner=$(dpkg-divert --listpackage "$1")
    if [ -n "$owner" ] && [ "$owner" != pyc-txn ]; then
        echo "pyc-txn: '$1' stays as it is: it is diverted already, by $owner" >&2
        return 0
    fi
    # Until it is replaced below, the original has both names.
    if is_there "$name" && ! is_our_link "$name" "$3"; then
        if [ -z "$owner" ] || ! is_there "$aside"; then
            ln -f "$name" "$aside"
        fi
    fi
    if [ -z "$owner" ]; then
        dpkg-divert --quiet --package pyc-txn --no-rename --divert "$2" --add "$1"
    fi
    ln -sfn "$3" "$name.pyc-txn"
    mv -fT "$name.pyc-txn" "$name"
}

give_back() { # NAME ASIDE OURS
    name=$DPKG_ROOT$1
    aside=$DPKG_ROOT$2
    owner=$(dpkg-divert --listpackage "$1")
    if is_our_link "$name" "$3" || [ "$owner" = pyc-txn ]; then
        if is_there "$aside"; then
            mv -fT "$aside" "$name"
        elif is_our_link "$name" "$3"; then
            rm -f "$name"
        fi
    fi
    rm -f "$name.pyc-txn"
    if [ "$owner" = pyc-txn ]; then
        dpkg-divert --quiet --package pyc-txn --no-rename --divert "$2" --remove "$1"
    fi
}
