//! Images.

use super::{BOOL, DISPOSABLE, DURATION, MAP, SECRET, STRING, TIMEOUT};
use crate::effect::ErrorKind::{
    Conflict, DiskFull, Failed, MissingSecret, MissingTool, NotFound, Refused, Unsupported,
};
use crate::effect::image::{BuildImage, ListImages, LoadImage, PullImage, PushImage, RemoveImage, TagImage};
use crate::script::primitive::Primitive;

const IMAGE_MAP: &str = "the image: id, tags, created_at, size, labels";

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<BuildImage>("Builds an image from a folder with a Dockerfile.")
            .required("context", STRING, "folder of the build context; its .dockerignore applies")
            .required("tag", STRING, "name of the image: \"web:v2\"")
            .optional("dockerfile", STRING, "\"Dockerfile\"", "path inside the folder")
            .optional("args", MAP, "#{}", "values for ARG; can be secrets")
            .optional("target", STRING, "the last", "stage to build")
            .optional("labels", MAP, "#{}", "additional labels")
            .optional("no_cache", BOOL, "false", "do not use the build cache")
            .optional("pull", BOOL, "false", "pull newer base images")
            .optional("timeout", DURATION, "\"30m\"", TIMEOUT)
            .returns(IMAGE_MAP)
            .undo("returns the name to the image that had it, or removes the name")
            .errors(&[NotFound, Refused, Failed, MissingSecret, DiskFull, Unsupported])
            .example("docker_build(#{context: \".\", tag: \"web:v3\"})"),
        Primitive::of::<PullImage>("Pulls an image from its registry.")
            .positional(&["image"])
            .required("image", STRING, "full name of the image")
            .optional("username", SECRET, "from `docker login`", "credentials of the registry")
            .optional("password", SECRET, "from `docker login`", "credentials of the registry")
            .optional("timeout", DURATION, "\"30m\"", TIMEOUT)
            .returns(IMAGE_MAP)
            .undo("returns the name to the image that had it")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, DiskFull, Unsupported])
            .example("docker_pull(\"web:v1\")"),
        Primitive::of::<PushImage>("Pushes an image to its registry.")
            .positional(&["image"])
            .required("image", STRING, "full name of the image")
            .optional("username", SECRET, "from `docker login`", "credentials of the registry")
            .optional("password", SECRET, "from `docker login`", "credentials of the registry")
            .optional("timeout", DURATION, "\"30m\"", TIMEOUT)
            .returns("digest")
            .undo("none: others may have pulled the image")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
            .example("docker_push(\"web:v1\")"),
        Primitive::of::<TagImage>("Tags an image. The tag moves if another image had it.")
            .positional(&["image", "tag"])
            .required("image", STRING, "name or id")
            .required("tag", STRING, "the new name: \"web:rollback\"")
            .undo("returns the name to the image that had it, or removes the name")
            .errors(&[NotFound, Refused, Failed])
            .example("docker_tag(\"web:v1\", \"web:rollback\")"),
        Primitive::of::<ListImages>("Lists images, newest first.")
            .positional(&["name"])
            .optional("name", STRING, "any", "repository (\"web\": all its tags), full name or id")
            .optional("labels", MAP, "#{}", "only images with all these labels")
            .returns("a list of images")
            .errors(&[Refused, Failed])
            .example("docker_images(\"web\")"),
        Primitive::of::<RemoveImage>("Removes a name of an image, and the image itself with its last name.")
            .positional(&["image"])
            .required("image", STRING, "name or id")
            .optional("force", BOOL, "false", "even if a stopped container uses it")
            .optional("missing_ok", BOOL, "false", "do nothing if the image does not exist")
            .optional("disposable", BOOL, "false", DISPOSABLE)
            .returns("removed: whether the image existed")
            .undo("restores the name if the image still exists under another one; otherwise impossible")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_image_remove(\"web:old\", #{missing_ok: true})"),
        Primitive::of::<LoadImage>("Loads images from an archive written by `docker save`.")
            .positional(&["file"])
            .required("file", STRING, "path of the archive")
            .optional("timeout", DURATION, "\"30m\"", TIMEOUT)
            .returns("a list of images")
            .undo("none: an unused image is harmless")
            .errors(&[NotFound, Refused, Failed, DiskFull, Unsupported])
            .example("docker_load(\"web.tar\")"),
    ]
}
