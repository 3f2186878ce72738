//! `vdkr run` in real virtual machines, as an ordinary user: what goes in comes through as it is, and so does what comes out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use wharf_tests::{Vm, random};

fn says_hello(arch: &'static str) {
    let vm = Vm::new(arch);
    assert_eq!(vm.ok(&["run", "--rm", "box", "echo", "hello"]).stdout, "hello\n");
    assert_eq!(vm.ok(&["run", "--rm", "box", "uname", "-m"]).stdout.trim(), arch);
    // Apart, and the exit code with them.
    let ran = vm.run(&["run", "--rm", "box", "sh", "-c", "echo out; echo err >&2; exit 7"]).expect(7);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    let copied = vm.feed(&["run", "--rm", "-i", "box", "cat"], b"from here\n");
    assert_eq!(copied.stdout, b"from here\n");
    assert!(vm.machines().is_empty(), "{:?}", vm.machines());
}

#[test]
fn a_program_for_x86_64_runs() {
    says_hello("x86_64");
}

#[test]
fn a_program_for_aarch64_runs() {
    says_hello("aarch64");
}

/// What stands after the image belongs to the program, byte for byte.
#[test]
fn arguments_arrive_byte_for_byte() {
    let vm = Vm::new("x86_64");
    let hard: Vec<&OsStr> = [
        &b""[..],
        b" ",
        b"a b",
        b"'",
        b"\"",
        b"\\",
        b"$HOME",
        b"`id`",
        b"$(id)",
        b"*",
        b"~",
        b";",
        b"&&",
        b"|",
        b"\n",
        b"\t",
        b"--help",
        b"--version",
        b"-it",
        b"--rm",
        b"--config",
        b"--registry",
        b"x=y",
        b"\xff\xfe",
        "grüße".as_bytes(),
        b"%s",
    ]
    .map(OsStr::from_bytes)
    .to_vec();
    let mut line = ["run", "--rm", "box", "printf", "<%s>"].map(OsStr::new).to_vec();
    line.extend(&hard);
    let output = vm.command(&line).output().expect("run vdkr");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<u8> = hard.iter().flat_map(|text| [b"<", text.as_bytes(), b">"].concat()).collect();
    assert_eq!(output.stdout, expected, "{}", String::from_utf8_lossy(&output.stdout));
}

/// As the lines of a shell's script: quoted, expanded and redirected by the shell here, and by the one inside where that was meant.
#[test]
fn a_shells_quoting_is_the_shells() {
    let vm = Vm::new("x86_64");
    let script = r#"
v='two  words'
vdkr run --rm box printf '[%s]' "$v" $v '$v' "\$v" '' "a'b" 'a"b' 'a\b' "back\\slash" '*' \* 'x;y' '|' '&' '(' '#' '!' '~' -- -e --rm
echo
vdkr run --rm -e "V=it's \"quoted\"" -e EMPTY= box sh -c 'printf "[%s]" "$V" "${EMPTY-unset}" "$HOME" "$(echo "in  there")" `echo x`; echo "$0 $#" "$@"' name 'first one' second
printf 'l1\nl2\n' | vdkr run --rm -i box sh -c 'while read -r line; do echo "<$line>"; done; echo end >&2' > out 2> err
cat out err
vdkr run --rm box sh -c "$(printf 'echo one\necho two # not three\necho "three"')"
vdkr run --rm --entrypoint '' box echo --help --version --config x --registry y -a z
"#;
    let output = vm.script(script).output().expect("run a shell");
    let expected = r#"[two  words][two][words][$v][$v][][a'b][a"b][a\b][back\slash][*][*][x;y][|][&][(][#][!][~][--][-e][--rm]
[it's "quoted"][][/root][in  there][x]name 2 first one second
<l1>
<l2>
end
one
two
three
--help --version --config x --registry y -a z
"#;
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

/// `run --hostname h image` once changed the wrong `h`.
#[test]
fn options_of_the_container_hold_inside_of_it() {
    let vm = Vm::new("x86_64");
    let line = ["run", "--rm", "--hostname", "box", "-e", "A=1 2", "-w", "/etc", "-u", "web", "box", "sh", "-c"];
    let script = "hostname; echo \"$A\"; pwd; id -u; id -g; id -G; echo $HOME";
    let ran = vm.ok(&[&line[..], &[script]].concat());
    assert_eq!(ran.stdout, "box\n1 2\n/etc\n33\n34\n34 29\n/srv\n");
    vm.run(&["run", "--rm", "--read-only", "--tmpfs", "/tmp", "box", "sh", "-c", "echo x > /tmp/x && ! touch /y"]).expect(0);
    vm.run(&["run", "--rm", "--network", "none", "box", "sh", "-c", "ls /sys/class/net"]).expect(0).is_silent_on("eth0");
    vm.run(&["run", "--rm", "-u", "nobody-there", "box", "true"]).expect(125).says("unable to find user nobody-there");
    vm.run(&["run", "--rm", "--cap-add", "NOTHING", "box", "true"]).expect(125).says("there is no capability NOTHING");
}

#[test]
fn exit_codes_come_through() {
    let vm = Vm::new("x86_64");
    vm.ok(&["run", "-d", "--name", "codes", "box", "sleep", "600"]);
    vm.run(&["exec", "codes", "sh", "-c", "kill -TERM $$"]).expect(143);
    vm.run(&["run", "--rm", "box", "sh", "-c", "exit 255"]).expect(255);
    vm.run(&["run", "--rm", "box", "no-such-program"]).expect(127).says("no-such-program");
    vm.run(&["run", "--rm", "box", "/etc/passwd"]).expect(126).says("/etc/passwd");
    vm.run(&["exec", "codes", "no-such-program"]).expect(127).says("no-such-program");
}

/// Each of the 256 that there are, from the first process and from others.
#[test]
fn every_exit_code_comes_through() {
    let vm = Vm::new("x86_64");
    vm.ok(&["run", "-d", "--name", "codes", "box", "sleep", "600"]);
    for code in 0..256 {
        vm.run(&["exec", "codes", "sh", "-c", &format!("exit {code}")]).expect(code);
    }
    for code in [1, 64, 125, 126, 127, 129, 137, 254] {
        vm.run(&["run", "--rm", "box", "sh", "-c", &format!("exit {code}")]).expect(code);
    }
}

/// A program that said nothing for a minute was once taken for one that had ended well.
#[test]
fn a_program_may_be_silent() {
    let seconds = 120;
    let vm = Vm::new("x86_64");
    let start = std::time::Instant::now();
    let line = format!("sleep {seconds}; cat; exit 3");
    let ran = vm.feed(&["run", "--rm", "-i", "box", "sh", "-c", &line], b"in the end\n");
    assert!(start.elapsed().as_secs() >= seconds, "it ended after {:?}", start.elapsed());
    assert_eq!((ran.stdout.as_slice(), ran.status.code()), (&b"in the end\n"[..], Some(3)), "{ran:?}");
}

/// 100 MB through standard input and output, unchanged.
#[test]
fn streams_carry_much_unchanged() {
    let vm = Vm::new("x86_64");
    let content = random(100_000_000);
    let output = vm.feed(&["run", "--rm", "-i", "box", "cat"], &content);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == content, "{} bytes came back", output.stdout.len());
}

/// A machine that was restored is not the same as the one before: other random numbers, and the time of now.
#[test]
fn two_machines_share_no_random_numbers_and_know_the_time() {
    let vm = Vm::new("x86_64");
    let ask = || {
        vm.ok(&["run", "--rm", "box", "sh", "-c", "cat /proc/sys/kernel/random/uuid; head -c 16 /dev/urandom | md5sum; date +%s"])
            .stdout
    };
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let (first, second) = (ask(), ask());
    let after = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (lines(&first), lines(&second));
    assert_ne!(first[0], second[0]);
    assert_ne!(first[1], second[1]);
    for time in [&first[2], &second[2]] {
        let time: u64 = time.parse().expect("a time");
        assert!((before.saturating_sub(1)..=after + 1).contains(&time), "{time} is not between {before} and {after}");
    }
}

#[test]
fn a_terminal_is_one_inside_too() {
    let vm = Vm::new("x86_64");
    let mut command = vm.command(&["run", "--rm", "-it", "box", "sh"]);
    let line: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().expect("UTF-8").to_owned())
        .collect();
    let quoted = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // `script` gives it a terminal of 100 by 40 characters, and types.
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("stty cols 100 rows 40; {quoted}"), "/dev/null"]).env_clear();
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(vm.own());
    let mut child = script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("script");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"tty; stty size; echo do''ne; exit 5\n").expect("typed");
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/dev/pts/0\r\n40 100\r\ndone\r\n"), "{text}");
    assert_eq!(output.status.code(), Some(5), "{text}");
    drop(stdin);
    command.stdin(std::process::Stdio::null());
}
