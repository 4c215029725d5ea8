//! PID 1 of the rocbed appliance; see the library.

use std::process::ExitCode;

use appliance::cmdline::CommandLine;
use appliance::detect;
use rocbed_init::console::Console;
use rocbed_init::fatal::{Fatal, show_and_reboot};
use rocbed_init::linux::Linux;
use rocbed_init::netroot::boot_report;
use rocbed_init::netroot::on_demand::server as root_server;
use rocbed_init::{faults, first_stage, modprobe, second_stage, testbed_service, virt};

fn main() -> ExitCode {
    if virt::is_wanted() {
        return virt::main();
    }
    if modprobe::is_wanted(std::env::args_os().next().as_deref()) {
        std::process::exit(modprobe::main(std::env::args().skip(1)));
    }
    let on_real_root = std::env::args_os().nth(1).is_some_and(|argument| argument == "second-stage");
    if std::process::id() != 1 {
        if std::env::args_os().nth(1).is_some_and(|argument| argument == "detect") {
            std::process::exit(detect::main(std::env::args_os().skip(2)));
        }
        if std::env::args_os().nth(1).is_some_and(|argument| argument == "faults") {
            std::process::exit(faults::main(std::env::args_os().skip(2)));
        }
        if std::env::args_os().nth(1).is_some_and(|argument| argument == "agent") {
            return agent::main();
        }
        if std::env::args_os().nth(1).is_some_and(|argument| argument == testbed_service::COMMAND) {
            return testbed_service::main();
        }
        if std::env::args_os().nth(1).is_some_and(|argument| argument == root_server::COMMAND) {
            return root_server::main(std::env::args().skip(2));
        }
        eprintln!(
            "rocbed-init: this is the first process of a rocbed appliance; anywhere else it has only `rocbed-init \
             detect`, which shows the machine's GPUs (see `rocbed-init detect --help`), `rocbed-init faults`, which says \
             what a kernel log tells about GPUs, and `rocbed-init virt`, which makes testbeds for autopkgtest (see `rocbed-init virt --help`)"
        );
        std::process::exit(2);
    }
    let (mut system, mut console) = (Linux, Console::open());
    // A panic would end PID 1 and with it the kernel, without a message from us. There should be none.
    std::panic::set_hook(Box::new(|info| {
        let error = Fatal::new(format!("internal error: {info}"), "report this as a bug of rocbed, with this text");
        show_and_reboot(&error, CommandLine::of_kernel().panic_timeout, &mut Linux, &mut Console::open());
    }));
    let Err(error) = if on_real_root {
        second_stage::run(&mut system, &mut console)
    } else {
        first_stage::run(&mut system, &mut console)
    };
    boot_report::failed(CommandLine::of_kernel(), &error);
    // Displays may have been taken for the status screen.
    show_and_reboot(&error, CommandLine::of_kernel().panic_timeout, &mut system, &mut Console::open());
    // Only reached if no restart is wanted or the kernel refused it; PID 1 must not end.
    loop {
        std::thread::park();
    }
}
