//! Prototype.
use std::path::Path;
use std::time::Instant;
use wharf_guest_protocol::*;
use wharf_machine::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let architecture: Architecture = a[1].parse().unwrap();
    let dir = Path::new(&a[2]);
    let t = Instant::now();
    let qemu = Qemu::find(architecture, None, &std::env::var_os("PATH").unwrap(), dir).unwrap();
    let shape = Shape {
        qemu,
        architecture,
        accelerator: Accelerator::Tcg,
        memory: 512,
        cpus: std::env::var("CPUS").map_or(1, |x| x.parse().unwrap()),
        kernel: dir.join("kernel"),
        initramfs: dir.join("initramfs"),
        disk: 8 << 30,
        program: "x".into(),
    };
    let s = Snapshot::get(&dir.join("machines"), &shape, || eprintln!("making a snapshot")).unwrap();
    eprintln!("{:?} snapshot", t.elapsed());
    let disks = Disks { image: a[3].clone().into(), changes: a[4].clone().into(), is_forgotten: true };
    let t = Instant::now();
    let spare = a.get(5).is_some_and(|x| x == "spare");
    let mut m = s.restore(if spare { None } else { Some(&disks) }, &Networking::default()).unwrap();
    let ask = |m: &mut Machine, id, task| {
        write(&mut m.control, CONTROL, &serde_json::to_vec(&Request::Ask { id, task }).unwrap()).unwrap();
    };
    ask(
        &mut m,
        1,
        Task::Wake {
            random: "ab".repeat(64),
            unix_nanos: std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        },
    );
    let t2;
    if spare {
        println!("{:?}", read(&mut m.control).unwrap().map(|f| String::from_utf8_lossy(&f.payload).into_owned()));
        std::thread::sleep(std::time::Duration::from_secs(1));
        t2 = Instant::now();
        m.insert(&disks, &Networking::default()).unwrap();
    } else {
        t2 = t;
    }
    let args: Vec<Text> = a[6..].iter().map(|x| Text::from(x.as_str())).collect();
    let process = Process {
        args,
        env: vec![],
        working_dir: "/".into(),
        user: String::new(),
        terminal: None,
        stdin: false,
        privileged: false,
    };
    let container = Container {
        id: "a".into(),
        hostname: "h".into(),
        process,
        read_only: false,
        privileged: false,
        cap_add: vec![],
        cap_drop: vec![],
        network: Network::Machine,
        mounts: vec![],
        memory: None,
        cpu_millis: None,
        extra_hosts: vec![],
    };
    ask(&mut m, 2, Task::Start { process: 1, container: Box::new(container) });
    loop {
        let Ok(Some(f)) = read(&mut m.control) else {
            println!("ended: {}", m.last_words());
            break;
        };
        let st = std::fs::read_to_string(format!("/proc/{}/stat", m.pid())).unwrap();
        let v: Vec<&str> = st.rsplit(')').next().unwrap().split(' ').collect();
        print!("[u{} s{}] ", v[12], v[13]);
        println!("{:?} {} {:?}", t2.elapsed(), f.channel, String::from_utf8_lossy(&f.payload));
        if f.channel == 0
            && (String::from_utf8_lossy(&f.payload).contains("exited") || String::from_utf8_lossy(&f.payload).contains("failed"))
        {
            break;
        }
    }
}
