use std::path::Path;

fn main() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let [name, folder] = &args[..]
        && name == "local-shim"
    {
        std::process::exit(deployer::world::local::shim::shim_main(Path::new(folder)));
    }
}
