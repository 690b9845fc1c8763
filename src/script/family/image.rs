//! Images.

use super::{BOOL, DURATION, MAP, NO_TIMEOUT_HARM, SECRET, STRING};
use crate::effect::ErrorKind::{
    Conflict, DiskFull, Failed, MissingSecret, MissingTool, NotFound, Refused, Unsupported,
};
use crate::effect::image::{BuildImage, ListImages, LoadImage, PullImage, PushImage, RemoveImage, TagImage};
use crate::script::primitive::Primitive;

const IMAGE_MAP: &str = "the image: id, tags, created_at, size, labels";

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<BuildImage>("Builds an image from a folder with a Dockerfile.")
            .required("context", STRING, "the folder; what its .dockerignore names is left out")
            .required("tag", STRING, "the image's name, \"web:v2\"")
            .optional("dockerfile", STRING, "\"Dockerfile\"", "path below the folder")
            .optional("args", MAP, "#{}", "values for ARG; may be secrets")
            .optional("target", STRING, "the last", "stage to build")
            .optional("labels", MAP, "#{}", "labels besides deployer's own")
            .optional("no_cache", BOOL, "false", "builds every layer anew")
            .optional("pull", BOOL, "false", "fetches newer base images")
            .optional("timeout", DURATION, "\"30m\"", NO_TIMEOUT_HARM)
            .returns(IMAGE_MAP)
            .undo("gives the name back to the image that had it, else takes the name away")
            .errors(&[NotFound, Refused, Failed, MissingSecret, DiskFull, Unsupported])
            .example("docker_build(#{context: \".\", tag: \"web:v3\"})"),
        Primitive::of::<PullImage>("Fetches an image from its registry.")
            .positional(&["image"])
            .required("image", STRING, "its full name")
            .optional("username", SECRET, "what `docker login` stored", "of the registry")
            .optional("password", SECRET, "what `docker login` stored", "of the registry")
            .optional("timeout", DURATION, "\"30m\"", NO_TIMEOUT_HARM)
            .returns(IMAGE_MAP)
            .undo("gives the name back to the image that had it")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, DiskFull, Unsupported])
            .example("docker_pull(\"web:v1\")"),
        Primitive::of::<PushImage>("Sends an image to its registry.")
            .positional(&["image"])
            .required("image", STRING, "its full name")
            .optional("username", SECRET, "what `docker login` stored", "of the registry")
            .optional("password", SECRET, "what `docker login` stored", "of the registry")
            .optional("timeout", DURATION, "\"30m\"", NO_TIMEOUT_HARM)
            .returns("digest")
            .undo("none: others may have fetched it")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
            .example("docker_push(\"web:v1\")"),
        Primitive::of::<TagImage>("Gives an image one more name. The name moves if another image had it.")
            .positional(&["image", "tag"])
            .required("image", STRING, "name or id")
            .required("tag", STRING, "the new name, \"web:rollback\"")
            .undo("gives the name back to the image that had it, else takes the name away")
            .errors(&[NotFound, Refused, Failed])
            .example("docker_tag(\"web:v1\", \"web:rollback\")"),
        Primitive::of::<ListImages>("Lists images, newest first.")
            .positional(&["name"])
            .optional("name", STRING, "any", "a repository (\"web\": all its tags), a full name or an id")
            .optional("labels", MAP, "#{}", "carrying all these labels")
            .returns("a list of images")
            .errors(&[Refused, Failed])
            .example("docker_images(\"web\")"),
        Primitive::of::<RemoveImage>("Takes a name away from an image, and removes the image with its last name.")
            .positional(&["image"])
            .required("image", STRING, "name or id")
            .optional("force", BOOL, "false", "also when a stopped container uses it")
            .optional("missing_ok", BOOL, "false", "does nothing when there is no such image")
            .optional("disposable", BOOL, "false", "nobody will miss it: the run can be taken back without it")
            .returns("removed: whether there was one")
            .undo("gives the name back if the image has another one; an image that is gone cannot be taken back")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_image_remove(\"web:old\", #{missing_ok: true})"),
        Primitive::of::<LoadImage>("Reads images from an archive that `docker save` wrote.")
            .positional(&["file"])
            .required("file", STRING, "path of the archive")
            .optional("timeout", DURATION, "\"30m\"", NO_TIMEOUT_HARM)
            .returns("a list of images")
            .undo("none: an image that nobody uses does no harm")
            .errors(&[NotFound, Refused, Failed, DiskFull, Unsupported])
            .example("docker_load(\"web.tar\")"),
    ]
}
