// The theme opens its menu on narrow screens with jQuery, which Debian's package of mkdocs does not have.
document.addEventListener("DOMContentLoaded", function () {
  if (window.jQuery) {
    return;
  }
  var menu = document.querySelectorAll("[data-toggle='wy-nav-shift']");
  document.querySelectorAll("[data-toggle='wy-nav-top']").forEach(function (button) {
    button.addEventListener("click", function () {
      menu.forEach(function (part) {
        part.classList.toggle("shift");
      });
    });
  });
});
